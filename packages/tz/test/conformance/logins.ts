/** Logins: TrustZone API 3.0, sections 3.7, 5.3.4 and 5.5.6. */
import { describe, expect, it } from 'vitest';
import { allLogins, type Login, TZ_LOGIN, thisProcess } from '../../src/index.js';
import { code, type Subject } from './subject.js';

/** The rules of logins; the probe answers an opening with everything that it was shown. */
export function loginRules(subject: () => Subject): void {
  describe('login', () => {
    const shown = async (login?: Login) => {
      const { device, service } = subject();
      const { session, operation } = device.prepareOpen(service, login ? { login } : {});
      operation.encodeUint32(4711);
      await operation.perform();
      const values = operation.decode();
      operation.release();
      await session.close();
      return values;
    };
    const utf8 = (value: string | undefined) => new TextEncoder().encode(value);

    it('is PUBLIC unless the client says otherwise', async () => {
      expect(await shown()).toEqual([TZ_LOGIN.PUBLIC, 4711]);
      expect(await shown({})).toEqual([TZ_LOGIN.PUBLIC, 4711]);
      expect(await shown({ user: false })).toEqual([TZ_LOGIN.PUBLIC, 4711]);
    });

    it('CLIENT_DATA shows bytes of the client', async () => {
      expect(await shown({ clientData: Uint8Array.of(1, 2, 3) })).toEqual([TZ_LOGIN.CLIENT_DATA, 4711]);
    });

    it('USER and GROUP show the real ids of this process', async () => {
      expect(await shown({ user: true })).toEqual([TZ_LOGIN.USER, process.getuid?.(), 4711]);
      expect(await shown({ group: true })).toEqual([TZ_LOGIN.GROUP, process.getgid?.(), 4711]);
      const both = TZ_LOGIN.USER | TZ_LOGIN.GROUP;
      expect(await shown({ group: true, user: true })).toEqual([both, process.getuid?.(), process.getgid?.(), 4711]);
    });

    it('NAME shows the path of the application', async () => {
      const { name } = await thisProcess({ name: true });
      expect(name).toMatch(/^\/.+/);
      expect(await shown({ name: true })).toEqual([TZ_LOGIN.NAME, utf8(name), 4711]);
    });

    it('DIGEST shows 32 bytes', async () => {
      const [flags, digest, own] = await shown({ digest: true });
      expect([flags, own]).toEqual([TZ_LOGIN.DIGEST, 4711]);
      expect(digest).toEqual((await thisProcess({ digest: true })).digest);
      expect(digest).toHaveLength(32);
    });

    it('ALL shows everything, in order', async () => {
      const who = await thisProcess(allLogins());
      const expected = [TZ_LOGIN.ALL, who.user, who.group, utf8(who.name), who.digest, 4711];
      expect(await shown(allLogins(Uint8Array.of(9)))).toEqual(expected);
    });

    it('refuses client data that are no bytes', async () => {
      const login = { clientData: 'text' } as unknown as Login;
      await expect(shown(login)).rejects.toThrow(code('TZ_ERROR_ILLEGAL_ARGUMENT'));
    });

    it('of a manager shows who it is, and everybody may list', async () => {
      await using manager = await subject().device.openManager({ login: { user: true } });
      expect(await manager.getServiceList()).toEqual([subject().service]);
    });
  });
}
