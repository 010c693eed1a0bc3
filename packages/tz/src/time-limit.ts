/** Absolute time limits of one device; TrustZone API 3.0, section 6.1.3. */

/** A moment by which an operation of the device that made it should be over. */
export class TimeLimit {
  /** The device that made it; no other accepts it. */
  readonly device: object;
  readonly #deadline: number;

  /** Made by `Device.getTimeLimit`; `timeout` is in milliseconds from now. */
  constructor(device: object, timeout: number) {
    this.device = device;
    this.#deadline = performance.now() + timeout;
  }

  /** Milliseconds left; 0 or less when it has passed. */
  get remaining(): number {
    return this.#deadline - performance.now();
  }
}
