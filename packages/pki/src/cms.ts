/**
 * The adapter over pkijs and asn1js: reads CMS SignedData (RFC 5652 section 5) into plain bytes. They read BER, which OpenSSL
 * writes when it streams; nothing else in this package needs them.
 */
import { fromBER } from 'asn1js';
import { ContentInfo, IssuerAndSerialNumber, Certificate as PkijsCertificate, SignedData } from 'pkijs';
import { concat } from './bytes.js';
import { malformed } from './error.js';

/** SignedData as plain bytes. Nothing in it has been verified. */
export interface CmsSignedData {
  /** Type of the content, dotted. */
  readonly contentType: string;
  /** Whether the content is inside. */
  readonly hasContent: boolean;
  /** The certificates inside, DER, in their order. */
  readonly certificates: readonly Uint8Array[];
  /** One for each signature. */
  readonly signers: readonly CmsSigner[];
}

/** SignerInfo as plain bytes. */
export interface CmsSigner {
  /** Which certificate is the signer's: issuer Name DER and serial number, or subjectKeyIdentifier. */
  readonly identifier:
    | { readonly issuer: Uint8Array; readonly serialNumber: Uint8Array }
    | { readonly keyIdentifier: Uint8Array };
  /** The digest algorithm, dotted. */
  readonly digest: string;
  /** AlgorithmIdentifier DER. */
  readonly signatureAlgorithm: Uint8Array;
  /** The signed attributes with the values of each as DER. */
  readonly attributes: readonly { readonly type: string; readonly values: readonly Uint8Array[] }[];
  /** The encoding of the signed attributes as SET OF, which is what the signature covers; absent without attributes. */
  readonly signedBytes?: Uint8Array;
  /** The signature's bytes. */
  readonly signature: Uint8Array;
}

const ID_SIGNED_DATA = '1.2.840.113549.1.7.2';
const MAX_CMS = 1 << 20;
const LIMITS = { maxNodes: 20_000, maxDepth: 40, maxContentLength: MAX_CMS };

/** Reads a ContentInfo with SignedData of at most 1 MiB, BER or DER. Throws {@link PkiError} `malformed`. */
export function parseSignedData(ber: Uint8Array): CmsSignedData {
  if (ber.length > MAX_CMS) throw malformed('SignedData', `expected at most ${MAX_CMS} bytes, got ${ber.length}`);
  try {
    return readSignedData(ber.slice());
  } catch (cause) {
    throw malformed('SignedData', 'expected a CMS message, got something else', cause);
  }
}

function readSignedData(ber: Uint8Array<ArrayBuffer>): CmsSignedData {
  const { result, offset } = fromBER(ber, LIMITS);
  if (offset !== ber.length) throw malformed('SignedData', `expected ${offset} bytes, got ${ber.length}`);
  const info = new ContentInfo({ schema: result });
  if (info.contentType !== ID_SIGNED_DATA) throw malformed('SignedData', `expected ${ID_SIGNED_DATA}, got ${info.contentType}`);
  const data = new SignedData({ schema: info.content });
  return {
    contentType: data.encapContentInfo.eContentType,
    hasContent: data.encapContentInfo.eContent !== undefined,
    certificates: (data.certificates ?? []).flatMap((each) =>
      each instanceof PkijsCertificate ? [new Uint8Array(each.toSchema().toBER(false))] : [],
    ),
    signers: data.signerInfos.map(readSigner),
  };
}

function readSigner(signer: SignedData['signerInfos'][number]): CmsSigner {
  const { signedAttrs } = signer;
  return {
    identifier: readIdentifier(signer.sid),
    digest: signer.digestAlgorithm.algorithmId,
    signatureAlgorithm: new Uint8Array(signer.signatureAlgorithm.toSchema().toBER(false)),
    attributes: (signedAttrs?.attributes ?? []).map((attribute) => ({
      type: attribute.type,
      values: attribute.values.map((value: { toBER(sizeOnly: boolean): ArrayBuffer }) => new Uint8Array(value.toBER(false))),
    })),
    ...(signedAttrs === undefined ? {} : { signedBytes: new Uint8Array(signedAttrs.encodedValue) }),
    signature: concat(signer.signature.valueBlock.valueHexView),
  };
}

function readIdentifier(sid: unknown): CmsSigner['identifier'] {
  if (sid instanceof IssuerAndSerialNumber) {
    const issuer = new Uint8Array(sid.issuer.toSchema().toBER(false));
    return { issuer, serialNumber: concat(sid.serialNumber.valueBlock.valueHexView) };
  }
  const { valueBlock } = sid as { valueBlock?: { valueHexView?: unknown } };
  if (valueBlock?.valueHexView instanceof Uint8Array) return { keyIdentifier: concat(valueBlock.valueHexView) };
  throw malformed('SignerInfo', 'expected issuer and serial number or a key identifier, got neither');
}
