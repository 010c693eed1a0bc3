/** Events that operating systems and applications measure: TCG_PCClientTaggedEvent. PC Client Platform Firmware Profile 1.06, section 10.4.2.1. */
import { type Infer, sizedBytes, struct, u32le } from '@casemate/wire';

/** The data of an EV_EVENT_TAG event; its digest is the hash of these bytes, tag and size included. */
export const TaggedEvent = struct('TCG_PCClientTaggedEvent', {
  taggedEventID: u32le,
  taggedEventData: sizedBytes('taggedEventData', u32le, { max: 1024 * 1024 }),
});
/** A tag that says whose data it is, and the data. */
export type TaggedEvent = Infer<typeof TaggedEvent>;
