/** Templates of hierarchies: the default one, reading from JSON, explanations in words and pictures. Pure. */
export { drawTree, type PictureNode } from './picture.js';
export { parseTemplate } from './template-parse.js';
export { drawTemplate, explainTemplate } from './template-text.js';
export { TRUSTME_PROFILES, type TrustmeOptions, trustmeTemplate } from './trustme-template.js';
