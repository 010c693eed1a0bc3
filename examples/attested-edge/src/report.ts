/** The report: one self-contained page with the chain from the roots to the verdict as a picture. */
import type { StepRecord } from './progress.js';

/** One check of the verifier, or of the device itself. */
interface ReportCheck {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** A register, what was extended into it, and what the quote says of it. */
export interface ReportPcr {
  readonly bank: string;
  readonly index: number;
  readonly quoted: string;
  readonly replayed: string;
  readonly events: readonly { readonly label: string; readonly digest: string; readonly after: string }[];
}

/** Everything that the page shows. */
export interface ReportData {
  readonly created: Date;
  readonly tpm: string;
  readonly engine: string;
  readonly steps: readonly StepRecord[];
  readonly checks: readonly ReportCheck[];
  readonly failed: readonly { readonly name: string; readonly detail: string }[];
  readonly certificates: readonly {
    readonly role: string;
    readonly subject: string;
    readonly issuer: string;
    readonly notAfter: string;
    readonly fingerprint: string;
  }[];
  readonly pcrs: readonly ReportPcr[];
  readonly container:
    | {
        readonly name: string;
        readonly version: string;
        readonly imageDigest: string;
        readonly outcome: string;
        readonly output: string;
      }
    | undefined;
  readonly pal:
    | { readonly name: string; readonly version: string; readonly measurement: string; readonly counter: string }
    | undefined;
}

/** A box of the picture: where it stands and which checks decide its colour. */
interface Box {
  readonly id: string;
  readonly column: number;
  readonly row: number;
  readonly title: string;
  readonly detail: string;
  readonly checks: readonly string[];
}

/** An arrow of the picture, from one box to another, with what the first does to the second. */
interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly label: string;
}

const box = { width: 204, height: 62, gapX: 34, gapY: 54, margin: 16 };

/** The page as HTML; it loads nothing from anywhere. */
export function renderReport(data: ReportData): string {
  const trusted = data.failed.length === 0;
  const verdict = trusted ? 'TRUSTED' : 'UNTRUSTED';
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Attested edge: ${verdict}</title><style>${style}</style></head><body>
<header class="${trusted ? 'good' : 'bad'}"><h1>${verdict}</h1>
<p>${trusted ? `All ${data.checks.length} checks passed.` : data.failed.map((f) => `<b>${escapeHtml(f.name)}</b>: ${escapeHtml(f.detail)}`).join('<br>')}</p>
<p class="meta">${escapeHtml(data.created.toISOString())} · TPM ${escapeHtml(data.tpm)} · PAL engine ${escapeHtml(data.engine)}</p></header>
<section><h2>The chain</h2><p>Each arrow is something that was checked. A box is red where a check on it failed.</p>
<div class="scroll">${picture(data)}</div></section>
<section><h2>PCR replay</h2><p>Each event is extended in turn; the last value must be the one that the TPM quoted.</p>${data.pcrs.map(renderPcr).join('')}</section>
${data.container ? renderContainer(data.container) : ''}
<section><h2>Checks</h2>${table(
    ['', 'check', 'what was found'],
    data.checks.map((c) => [mark(c.ok), escapeHtml(c.name), escapeHtml(c.detail)]),
  )}</section>
<section><h2>Certificates</h2>${table(
    ['role', 'subject', 'issued by', 'until', 'SHA-256'],
    data.certificates.map((c) => [
      escapeHtml(c.role),
      escapeHtml(c.subject),
      escapeHtml(c.issuer),
      escapeHtml(c.notAfter),
      code(c.fingerprint),
    ]),
  )}</section>
<section><h2>Steps</h2>${table(
    ['', 'step', 'what it did', 'time'],
    data.steps.map((s) => [
      String(s.number),
      escapeHtml(s.title),
      s.notes.map(escapeHtml).join('<br>'),
      `${s.milliseconds}&nbsp;ms`,
    ]),
  )}</section>
</body></html>
`;
}

function picture(data: ReportData): string {
  const boxes = boxesOf(data);
  const place = new Map(boxes.map((b) => [b.id, b]));
  const width = 4 * box.width + 3 * box.gapX + 2 * box.margin;
  const rows = Math.max(...boxes.map((b) => b.row)) + 1;
  const height = rows * box.height + (rows - 1) * box.gapY + 2 * box.margin;
  const failed = new Set(data.failed.map((f) => f.name));
  const arrows = chain.filter((a) => place.has(a.from) && place.has(a.to));
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="The chain from the roots to the verdict">
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>
${arrows.map((a) => drawArrow(a, place)).join('\n')}
${boxes.map((b) => drawBox(b, failed)).join('\n')}
</svg>`;
}

function boxesOf(data: ReportData): Box[] {
  const expires = (role: string): string => {
    const found = data.certificates.find((c) => c.role === role);
    return found ? `valid until ${found.notAfter}` : '';
  };
  const image = data.container;
  const trusted = data.failed.length === 0;
  const all: Box[] = [
    {
      id: 'sroot',
      column: 0,
      row: 0,
      title: 'Software signing root',
      detail: expires('software signing root'),
      checks: [],
    },
    { id: 'root', column: 2, row: 0, title: 'General root', detail: expires('general root'), checks: [] },
    {
      id: 'sca',
      column: 0,
      row: 1,
      title: 'Software signing CA',
      detail: expires('software signing ca'),
      checks: ['certificate'],
    },
    {
      id: 'aca',
      column: 1.5,
      row: 1,
      title: 'Attestation CA',
      detail: expires('attestation ca'),
      checks: ['certificate'],
    },
    { id: 'dca', column: 2.75, row: 1, title: 'Device CA', detail: expires('device ca'), checks: ['certificate'] },
    {
      id: 'signer',
      column: 0,
      row: 2,
      title: 'Signing certificate',
      detail: expires('software signing'),
      checks: ['certificate', 'signature'],
    },
    { id: 'ak', column: 1.5, row: 2, title: 'AK certificate', detail: 'key held by the TPM', checks: ['certificate'] },
    {
      id: 'device',
      column: 2.75,
      row: 2,
      title: 'Device certificate',
      detail: 'key held by the TPM',
      checks: ['certificate'],
    },
    {
      id: 'quote',
      column: 1.5,
      row: 3,
      title: 'TPM quote',
      detail: `${data.pcrs.length} PCRs; fresh nonce`,
      checks: ['quote'],
    },
    {
      id: 'config',
      column: 0,
      row: 3,
      title: 'GuestOS configuration',
      detail: image ? `${image.name} ${image.version}` : 'refused',
      checks: ['config', 'signature'],
    },
    {
      id: 'image',
      column: 0,
      row: 4,
      title: 'GuestOS image',
      detail: image ? short(image.imageDigest) : 'refused',
      checks: ['image'],
    },
    { id: 'pcr11', column: 1, row: 4, title: 'PCR 11 · event log', detail: pcrDetail(data, 11), checks: ['event-log'] },
    {
      id: 'pcr12',
      column: 2,
      row: 4,
      title: 'PCR 12 · event log',
      detail: pcrDetail(data, 12),
      checks: ['event-log', 'pal'],
    },
    {
      id: 'container',
      column: 0.5,
      row: 5,
      title: 'Container',
      detail: image ? image.outcome : 'did not run',
      checks: ['image', 'config', 'signature'],
    },
    {
      id: 'pal',
      column: 2,
      row: 5,
      title: data.pal ? `PAL ${data.pal.name} ${data.pal.version}` : 'PAL',
      detail: data.pal ? short(data.pal.measurement) : 'did not run',
      checks: ['pal'],
    },
    {
      id: 'state',
      column: 3,
      row: 5,
      title: 'Sealed state',
      detail: data.pal ? `counter ${data.pal.counter}` : 'refused',
      checks: ['sealed-state', 'replay'],
    },
    {
      id: 'verdict',
      column: 1.25,
      row: 6,
      title: trusted ? 'TRUSTED' : 'UNTRUSTED',
      detail: trusted ? 'by the verifier' : data.failed.map((f) => f.name).join(' · '),
      checks: trusted ? [] : data.failed.map((f) => f.name),
    },
  ];
  return all;
}

function drawBox(b: Box, failed: ReadonlySet<string>): string {
  const { x, y } = corner(b);
  const bad = b.checks.some((name) => failed.has(name));
  const middle = x + box.width / 2;
  return `<g class="box ${bad ? 'bad' : 'good'}${b.id === 'verdict' ? ' verdict' : ''}"><rect x="${x}" y="${y}" width="${box.width}" height="${box.height}" rx="9"/><text x="${middle}" y="${y + 26}" class="title">${escapeHtml(b.title)}</text><text x="${middle}" y="${y + 46}">${escapeHtml(b.detail)}</text></g>`;
}

function drawArrow(arrow: Arrow, place: ReadonlyMap<string, Box>): string {
  const from = place.get(arrow.from);
  const to = place.get(arrow.to);
  if (!from || !to) return '';
  const a = corner(from);
  const b = corner(to);
  const level = from.row === to.row;
  const right = level && b.x > a.x;
  const start = level
    ? { x: right ? a.x + box.width : a.x, y: a.y + box.height / 2 }
    : { x: a.x + box.width / 2, y: a.y + box.height };
  const end = level
    ? { x: right ? b.x : b.x + box.width, y: b.y + box.height / 2 }
    : { x: b.x + box.width / 2, y: b.y };
  const bend = level ? 0 : (end.y - start.y) / 2;
  const path = `M${start.x} ${start.y}C${start.x} ${start.y + bend} ${end.x} ${end.y - bend} ${end.x} ${end.y}`;
  const label = { x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 + (level ? -7 : 4) };
  return `<path class="arrow" d="${path}" marker-end="url(#tip)"/><text class="label" x="${label.x}" y="${label.y}">${escapeHtml(arrow.label)}</text>`;
}

function corner(b: Box): { x: number; y: number } {
  return { x: box.margin + b.column * (box.width + box.gapX), y: box.margin + b.row * (box.height + box.gapY) };
}

function pcrDetail(data: ReportData, index: number): string {
  const pcr = data.pcrs.find((p) => p.index === index);
  if (!pcr) return 'not quoted';
  const events = `${pcr.events.length} ${pcr.events.length === 1 ? 'event' : 'events'}`;
  return `${events}, replay ${pcr.quoted === pcr.replayed ? 'agrees' : 'differs'}`;
}

function renderPcr(pcr: ReportPcr): string {
  const rows = pcr.events.map((e) => [escapeHtml(e.label), code(e.digest), code(e.after)]);
  const agrees = pcr.quoted === pcr.replayed;
  return `<h3>${mark(agrees)} PCR ${pcr.index} · ${escapeHtml(pcr.bank)}</h3>${
    rows.length > 0
      ? table(['event', 'digest', 'PCR after it'], rows)
      : '<p>No event; the register is in its initial state.</p>'
  }<p>quoted ${code(pcr.quoted)}</p>`;
}

function renderContainer(container: NonNullable<ReportData['container']>): string {
  return `<section><h2>Container</h2><p>${escapeHtml(container.name)} ${escapeHtml(container.version)}, image ${code(container.imageDigest)}: ${escapeHtml(container.outcome)}</p><pre>${escapeHtml(container.output)}</pre></section>`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, row: readonly string[]): string => row.map((cell) => `<${tag}>${cell}</${tag}>`).join('');
  return `<div class="scroll"><table><thead><tr>${cells('th', head)}</tr></thead><tbody>${rows
    .map((row) => `<tr>${cells('td', row)}</tr>`)
    .join('')}</tbody></table></div>`;
}

function mark(ok: boolean): string {
  return ok ? '<span class="yes">✓</span>' : '<span class="no">✗</span>';
}

function code(text: string): string {
  return `<code title="${escapeHtml(text)}">${escapeHtml(short(text))}</code>`;
}

function short(digest: string): string {
  return digest.length > 20 ? `${digest.slice(0, 12)}…${digest.slice(-6)}` : digest;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const chain: readonly Arrow[] = [
  { from: 'sroot', to: 'sca', label: 'issues' },
  { from: 'root', to: 'aca', label: 'issues' },
  { from: 'root', to: 'dca', label: 'issues' },
  { from: 'sca', to: 'signer', label: 'issues' },
  { from: 'aca', to: 'ak', label: 'issues, after credential activation' },
  { from: 'dca', to: 'device', label: 'issues' },
  { from: 'ak', to: 'device', label: 'certifies' },
  { from: 'signer', to: 'config', label: 'signs' },
  { from: 'config', to: 'image', label: 'names the digest of every byte' },
  { from: 'ak', to: 'quote', label: 'signs' },
  { from: 'quote', to: 'pcr11', label: 'covers' },
  { from: 'quote', to: 'pcr12', label: 'covers' },
  { from: 'image', to: 'pcr11', label: '' },
  { from: 'pcr11', to: 'container', label: 'extended before it runs' },
  { from: 'pcr12', to: 'pal', label: 'holds its identity key' },
  { from: 'pal', to: 'state', label: '' },
  { from: 'container', to: 'verdict', label: '' },
  { from: 'pal', to: 'verdict', label: '' },
];

const style = `
:root{color-scheme:light dark;--ink:#1b2430;--soft:#5b6775;--line:#cfd6de;--page:#f7f9fb;--card:#fff;--good:#17744a;--goodbg:#e7f5ee;--bad:#b3261e;--badbg:#fdecea}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa7b5;--line:#3a4552;--page:#12171d;--card:#1a212a;--good:#6fd3a2;--goodbg:#15301f;--bad:#ff8a80;--badbg:#3a1a18}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1060px;padding:24px;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
header,section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 24px;margin-bottom:18px}
header{border-left:10px solid var(--good)}header.bad{border-left-color:var(--bad)}header.good h1{color:var(--good)}header.bad h1{color:var(--bad)}
h1{margin:0;font-size:32px;letter-spacing:.04em}h2{margin:0 0 6px;font-size:19px}h3{margin:14px 0 4px;font-size:15px}p{margin:4px 0}.meta{color:var(--soft);font-size:13px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13.5px}th{text-align:left;color:var(--soft);font-weight:600}th,td{padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
code,pre{font:12.5px/1.45 ui-monospace,monospace}pre{background:var(--page);border:1px solid var(--line);border-radius:8px;padding:10px;overflow-x:auto}
.yes{color:var(--good);font-weight:700}.no{color:var(--bad);font-weight:700}
svg{display:block;margin:10px auto;max-width:100%;height:auto}svg text{fill:var(--soft);font-size:12px;text-anchor:middle}svg .title{fill:var(--ink);font-size:14px;font-weight:600}
.box rect{fill:var(--goodbg);stroke:var(--good);stroke-width:1.5}.box.bad rect{fill:var(--badbg);stroke:var(--bad);stroke-width:2.5}.verdict rect{stroke-width:3.5}
.arrow{fill:none;stroke:var(--soft);stroke-width:1.4}marker path{fill:var(--soft)}.label{font-size:11px!important;paint-order:stroke;stroke:var(--card);stroke-width:5px}`;
