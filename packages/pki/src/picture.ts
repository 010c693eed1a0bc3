/** Trees of certificates as SVG pictures, without anything from elsewhere in them. */

/** A box of a picture. */
export interface PictureNode {
  /** Names it for {@link PictureNode.parent}. */
  readonly id: string;
  /** The box on its left; none for a root. */
  readonly parent?: string;
  /** The first line. */
  readonly title: string;
  /** Further lines, smaller. */
  readonly lines: readonly string[];
  /** Its colour: what it is, or that something is wrong with it. */
  readonly kind: 'root' | 'ca' | 'leaf' | 'problem';
}

const BOX = { width: 380, line: 17, padding: 12, gapX: 56, gapY: 18 } as const;
const COLOURS = {
  root: { fill: '#fdf3d8', stroke: '#a87400' },
  ca: { fill: '#e3eefb', stroke: '#2f6db3' },
  leaf: { fill: '#e6f4e6', stroke: '#3a8344' },
  problem: { fill: '#fde4e1', stroke: '#b3261e' },
} as const;
const MAX_TEXT = 48;

interface Placed extends PictureNode {
  readonly x: number;
  readonly y: number;
  readonly height: number;
}

/** The picture: roots at the left, what they certify at their right. `heading` stands above it. */
export function drawTree(nodes: readonly PictureNode[], heading: string): string {
  const placed = place(nodes);
  const width = Math.max(0, ...placed.map(({ x }) => x + BOX.width)) + BOX.padding;
  const height = Math.max(0, ...placed.map(({ y, height: own }) => y + own)) + BOX.padding;
  const byId = new Map(placed.map((node) => [node.id, node]));
  const lines = placed.flatMap((node) => {
    const above = node.parent === undefined ? undefined : byId.get(node.parent);
    return above === undefined ? [] : [connector(above, node)];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(heading)}" font-family="system-ui, sans-serif">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${BOX.padding}" y="26" font-size="17" font-weight="600" fill="#1c1c1c">${escapeXml(heading)}</text>`,
    ...lines,
    ...placed.map(box),
    '</svg>',
    '',
  ].join('\n');
}

/** Leaves of the tree follow each other downwards; what is above stands at the middle of what is below it. */
function place(nodes: readonly PictureNode[]): readonly Placed[] {
  const placed = new Map<string, Placed>();
  const ids = new Set(nodes.map(({ id }) => id));
  let bottom = 44;
  const visit = (node: PictureNode, depth: number): Placed => {
    const own = 2 * BOX.padding + BOX.line * (1 + node.lines.length) - 4;
    const below = nodes.filter(({ parent, id }) => parent === node.id && id !== node.id && !placed.has(id));
    const top = bottom;
    const children = below.map((child) => visit(child, depth + 1));
    const [first] = children;
    const last = children.at(-1);
    const middle = first === undefined || last === undefined ? top : (first.y + last.y + last.height - own) / 2;
    const y = Math.max(top, Math.round(middle));
    bottom = Math.max(bottom, y + own + BOX.gapY);
    const result = { ...node, x: BOX.padding + depth * (BOX.width + BOX.gapX), y, height: own };
    placed.set(node.id, result);
    return result;
  };
  for (const node of nodes)
    if ((node.parent === undefined || !ids.has(node.parent)) && !placed.has(node.id)) visit(node, 0);
  return [...placed.values()];
}

function connector(from: Placed, to: Placed): string {
  const [x1, y1] = [from.x + BOX.width, from.y + from.height / 2];
  const [x2, y2] = [to.x, to.y + to.height / 2];
  const middle = (x1 + x2) / 2;
  return `<path d="M ${x1} ${y1} C ${middle} ${y1}, ${middle} ${y2}, ${x2} ${y2}" fill="none" stroke="#8a8a8a" stroke-width="1.5"/>`;
}

function box({ x, y, height, title, lines, kind }: Placed): string {
  const { fill, stroke } = COLOURS[kind];
  const row = (content: string, i: number) =>
    `<text x="${x + BOX.padding}" y="${y + BOX.padding + 12 + i * BOX.line}" font-size="${i === 0 ? 14 : 12}"${i === 0 ? ' font-weight="600"' : ''} fill="#1c1c1c">${escapeXml(shortened(content))}</text>`;
  return [
    `<g><title>${escapeXml([title, ...lines].join('\n'))}</title>`,
    `<rect x="${x}" y="${y}" width="${BOX.width}" height="${height}" rx="8" fill="${fill}" stroke="${stroke}" stroke-width="1.5"/>`,
    ...[title, ...lines].map(row),
    '</g>',
  ].join('');
}

function shortened(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1)}…`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text of certificates is anybody's. Control characters and halves of pairs have no place in XML. */
function escapeXml(text: string): string {
  return Array.from(
    text,
    (character) => ENTITIES[character] ?? (isXml(character.codePointAt(0) ?? 0) ? character : '\u00b7'),
  ).join('');
}

function isXml(code: number): boolean {
  if (code < 0x20) return code === 0x0a;
  return (code < 0x7f || code > 0x9f) && (code < 0xd800 || code > 0xdfff) && code !== 0xfffe && code !== 0xffff;
}
