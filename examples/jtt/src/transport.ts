/** Which TPM to talk to. */
import type { TpmTransport } from '@casemate/tpm';
import { openDevice } from '@casemate/tpm/device';
import { connectSwtpm, type SwtpmControl } from '@casemate/tpm/swtpm';
import { UsageError } from './command.js';

/** A way to a TPM, with the simulator's control channel where there is one. */
export type Connection = TpmTransport & { readonly control?: SwtpmControl };

/** Opens what `--tpm` names. */
export function connect(where: string): Promise<Connection> {
  const [, kind, rest = ''] = /^(\w+):(.*)$/.exec(where) ?? [];
  if (kind === 'device') return openDevice(rest);
  const settings = Object.fromEntries(rest.split(',').map((part) => part.split('=', 2)));
  if (kind === 'swtpm' && settings.path) return connectSwtpm({ path: settings.path });
  if (kind === 'swtpm' && Number(settings.port) > 0) {
    return connectSwtpm({ host: settings.host ?? '127.0.0.1', port: Number(settings.port) });
  }
  const forms = 'device:/dev/tpm0, swtpm:path=SOCKET or swtpm:host=H,port=P';
  throw new UsageError(`--tpm: expected ${forms}, got "${where}"`);
}
