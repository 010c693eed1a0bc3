/** `decode`: what a recording says. */
import { type Result, readInputFile } from '@casemate/command-line';
import { exchangeJson, exchangeText, explainRecording, parseRecording } from '../../recorder.js';
import type { CommandDefinition, Context } from '../definition.js';

/** The command. */
export const decodeCommand: CommandDefinition = {
  name: 'decode',
  usage: '[FILE | -]',
  summary: 'say what a recording of TPM traffic says',
  details:
    'Reads recordings of this program (--record), of libtss2 (TPM2TOOLS_TCTI=pcap:…), pcap and pcapng files of tcpdump, commands and responses one after another as bytes, and the same in hexadecimal; without FILE from standard input. Secrets are left out.',
  options: {
    'unsafe-show-secrets': {
      type: 'boolean',
      help: 'show passwords, sealed data, random numbers and other secrets too',
    },
    full: { type: 'boolean', help: 'show byte strings in full' },
  },
  examples: [
    'TPM2TOOLS_TCTI=pcap:device:/dev/tpmrm0 TCTI_PCAP_FILE=t.pcap tpm2_pcrread; casemate-tpm decode t.pcap',
    'echo 80010000000c0000017b0004 | casemate-tpm decode',
  ],
  positionals: { min: 0, max: 1 },
  run: decode,
};

async function decode({ surroundings, style, positionals, has }: Context): Promise<Result> {
  const recording = parseRecording(await readInputFile(positionals[0] ?? '-', surroundings));
  const exchanges = explainRecording(recording, { unsafeShowSecrets: has('unsafe-show-secrets') });
  const colour = style.bold('x') !== 'x';
  const texts = exchanges.map((exchange) => exchangeText(exchange, { colour, full: has('full') }));
  const problems = recording.problems.map((problem) => style.warn(`! ${problem}`));
  const { format } = recording;
  return {
    json: { format, problems: recording.problems, exchanges: exchanges.map(exchangeJson) },
    text: [...texts, ...problems].join('\n'),
  };
}
