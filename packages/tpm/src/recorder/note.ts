/** What a recording says beside the bytes: comments on its packets, in JSON behind a mark. */

/** A comment that this package wrote. */
export type Note =
  | { readonly type: 'locality'; readonly locality: number }
  | { readonly type: 'error'; readonly code: string; readonly message: string }
  | { readonly type: 'control'; readonly action: string; readonly argument?: number };

/** The note as a comment. */
export function noteComment(note: Note): string {
  const text = note.type === 'error' ? { ...note, message: note.message.slice(0, MAX_MESSAGE) } : note;
  return `${MARK}${JSON.stringify(text)}`;
}

/** The note among the comments on a packet, if one is there. Whoever made the file controls every byte; other comments are ignored. */
export function noteOf(comments: readonly string[]): Note | undefined {
  const comment = comments.find((text) => text.startsWith(MARK) && text.length <= MAX_COMMENT);
  if (comment === undefined) return undefined;
  try {
    return checkedNote(JSON.parse(comment.slice(MARK.length)));
  } catch {
    return undefined; // not JSON, so not a note
  }
}

function checkedNote(value: unknown): Note | undefined {
  if (typeof value !== 'object' || value === null || !('type' in value)) return undefined;
  const fields = value as Readonly<Record<string, unknown>>; // an object, by the line above
  const { type, locality, code, message, action, argument } = fields;
  if (type === 'locality' && typeof locality === 'number') return { type, locality };
  if (type === 'error' && typeof code === 'string' && typeof message === 'string') return { type, code, message };
  if (type !== 'control' || typeof action !== 'string') return undefined;
  return { type, action, ...(typeof argument === 'number' && { argument }) };
}

const MARK = 'casemate ';
const MAX_MESSAGE = 500;
const MAX_COMMENT = 8192;
