/** What a service learns at the opening of a session: who asks; WIRE.md of this package, "Credentials". */
import { TZIDecodeArraySpace, TZIDecodeUint32, tzi_encode_buffer_t } from './marshal';
import { TZ_LOGIN_DIGEST, TZ_LOGIN_GROUP, TZ_LOGIN_NAME, TZ_LOGIN_USER } from './return-code';

/** What `user` and `group` are where the client did not show them, or the device does not know them. */
export const UNKNOWN_ID: u32 = 0xffff_ffff;

/** The credentials of a client. The device made them, but for its data. */
export class Login {
  /** The client's own data, for the service to check. */
  clientData: Uint8Array | null = null;
  /** Real user id. */
  user: u32 = UNKNOWN_ID;
  /** Real group id. */
  group: u32 = UNKNOWN_ID;
  /** The client's path. */
  name: string | null = null;
  /** The client's digest, 32 bytes. */
  digest: Uint8Array | null = null;

  constructor(
    /** Which credentials the client shows: TZ_LOGIN_*. */
    public flags: u32,
  ) {}
}

/** Decodes the credentials in front of an open message; the client's own records follow. Errors stick to the buffer. */
export function decodeLogin(input: tzi_encode_buffer_t): Login {
  const login = new Login(TZIDecodeUint32(input));
  login.clientData = TZIDecodeArraySpace(input);
  if (login.flags & TZ_LOGIN_USER) login.user = TZIDecodeUint32(input);
  if (login.flags & TZ_LOGIN_GROUP) login.group = TZIDecodeUint32(input);
  if (login.flags & TZ_LOGIN_NAME) {
    const name = TZIDecodeArraySpace(input);
    if (name !== null) login.name = String.UTF8.decodeUnsafe(name.dataStart, name.length);
  }
  if (login.flags & TZ_LOGIN_DIGEST) login.digest = TZIDecodeArraySpace(input);
  return login;
}
