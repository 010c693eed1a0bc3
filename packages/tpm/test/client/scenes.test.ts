/** The scenes that the fuzzer plays, against the swtpm that they were recorded with; UPDATE_VECTORS=1 records them anew. */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { scenes } from '../../fuzz/scenes.js';
import { answering, drawing, recordScene, type StoredTape, storeTape } from '../../fuzz/tape.js';
import { connectSwtpm, type SwtpmTransport } from '../../src/swtpm.js';
import { describeWith, type SwtpmServer, startSwtpm } from './swtpm-server.js';

describeWith(['swtpm'], 'the scenes of the fuzzer with swtpm', () => {
  let server: SwtpmServer;
  let swtpm: SwtpmTransport;
  const tapes: Record<string, StoredTape> = {};
  beforeAll(async () => {
    server = await startSwtpm();
    swtpm = await connectSwtpm(server);
  });
  afterAll(async () => {
    if (process.env.UPDATE_VECTORS === '1') {
      const lines = Object.entries(tapes).map(([name, tape]) => `${JSON.stringify(name)}:${JSON.stringify(tape)}`);
      writeFileSync(new URL('../vectors/swtpm-scenes.json', import.meta.url), `{\n${lines.join(',\n')}\n}\n`);
    }
    await swtpm?.close();
    await server?.stop();
  });

  it.each(Object.keys(scenes))('%s: runs, and runs again from its recording', async (name) => {
    const scene = scenes[name];
    if (!scene) throw new Error('no such scene');
    const tape = await recordScene(scene, swtpm);
    tapes[name] = storeTape(tape);
    const commands: Uint8Array[] = [];
    const answers = answering(tape, (_, response) => response);
    const counting = {
      ...answers,
      send: async (command: Uint8Array) => {
        commands.push(command.slice());
        return answers.send(command);
      },
    };
    await scene(counting, drawing(tape));
    expect(commands).toEqual(tape.exchanges.map(({ command }) => command));
  });
});
