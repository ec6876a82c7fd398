/** Why a signal is not accepted, in the user's terms: the failure and the variable to change. Pure. */
import { GrpcStatus } from '../grpc-status.ts';
import { OtlpError } from './sender.ts';
import type { OtlpTarget } from './target.ts';

/** What a reason names. */
export type NamedTarget = Pick<OtlpTarget, 'protocol' | 'url' | 'variables'>;

/** @param error the rejection of a sender, or the error that kept it from sending */
export function reasonFor(error: unknown, target: NamedTarget): string {
  const message = (error as { message?: unknown } | undefined)?.message;
  const text = typeof message === 'string' && message !== '' ? message : 'no reason given';
  if (!(error instanceof OtlpError)) return text;
  const advice = error.status === undefined ? connectionAdvice(text, target) : statusAdvice(error, target);
  return advice === undefined
    ? text
    : advice.replaces
      ? advice.text
      : `${text.replace(/[.\s]+$/, '')}. ${advice.text}`;
}

interface Advice {
  text: string;
  /** Whether it replaces the text of the library, which adds nothing. */
  replaces?: boolean;
}

function statusAdvice({ status, isGrpc }: OtlpError, { variables }: NamedTarget): Advice | undefined {
  const isAuthentication = isGrpc
    ? status === GrpcStatus.UNAUTHENTICATED || status === GrpcStatus.PERMISSION_DENIED
    : status === 401 || status === 403;
  if (isAuthentication) return { text: `Check ${variables.headers}` };
  if (!isGrpc && (status === 404 || status === 405))
    return { text: `Check the path in ${variables.endpoint}` };
  if (!isGrpc && status !== undefined && status < 300)
    return { text: `The address is not that of an OTLP receiver. Check ${variables.endpoint}` };
  return undefined;
}

function connectionAdvice(text: string, { url, protocol, variables }: NamedTarget): Advice | undefined {
  if (url.startsWith('unix:')) return undefined;
  const { hostname, port, protocol: scheme } = new URL(url);
  const isTls = scheme === 'https:';
  const where = `port ${port || (isTls ? 443 : 80)}`;
  const { endpoint } = variables;
  const isGrpc = protocol === 'grpc';
  if (text === PROXY_FAILURE)
    return { text: `Check grpc_proxy, https_proxy and http_proxy, or add ${hostname} to no_proxy` };
  if (/ENOTFOUND|EAI_AGAIN|^Name resolution failed/.test(text))
    return { text: `host ${hostname} cannot be resolved. Check ${endpoint}`, replaces: true };
  if (isTls && /wrong version number|packet length too long/.test(text))
    return { text: `${where} does not use TLS. Write http:// in ${endpoint}`, replaces: true };
  if (isTls && /no application protocol/.test(text))
    return { text: notGrpc(where, variables), replaces: true };
  // A server that asks for a certificate fails the handshake by one of these alerts.
  if (/alert certificate required/.test(text))
    return {
      text: `the collector requires a client certificate. Set ${variables.clientCertificate} and ${variables.clientKey}`,
      replaces: true,
    };
  if (/alert (unknown ca|bad certificate)/.test(text))
    return {
      text: `the collector does not accept the client certificate. Check ${variables.clientCertificate}`,
      replaces: true,
    };
  if (/does not match certificate's altnames/.test(text))
    return { text: `Use a host name of the certificate in ${endpoint}` };
  if (/unable to (verify|get)|self.signed certificate/i.test(text))
    return { text: `Set ${variables.certificate} to the file of its certificate authority` };
  if (isGrpc && text === 'Protocol error') return { text: notGrpc(where, variables), replaces: true };
  if (!isGrpc && text.startsWith('Parse Error'))
    return {
      text: `${where} does not use HTTP/1.1; it looks like a gRPC port. Set ${variables.protocol}=grpc, or use the HTTP port (4318 by default)`,
      replaces: true,
    };
  if (!isTls && (text === 'Failed to connect' || text === 'socket hang up'))
    return {
      text: `${where} closes the connection without an answer. If it uses TLS, write https:// in ${endpoint}`,
      replaces: true,
    };
  return undefined;
}

const notGrpc = (where: string, { protocol }: OtlpTarget['variables']): string =>
  `${where} does not use gRPC. Set ${protocol}=http/protobuf, or use the gRPC port (4317 by default)`;

/** grpc-js gives no reason when a proxy does not connect, and only then. */
export const PROXY_FAILURE = 'the proxy does not connect';

/** Messages of grpc-js without a connection: the error of the last attempt, some with the time. */
const NO_CONNECTION =
  /^No connection established\. Last error: (?:Error(?: \[\w+\])?: )?(.*?)(?: \(\d{4}-[\dT:.Z-]+\))?\. Resolution note: /s;

/**
 * The error of grpc-js' last attempt to connect; empty before the first has failed, undefined for another
 * message.
 */
export function lastConnectionError(details: string): string | undefined {
  const error = NO_CONNECTION.exec(details)?.[1]?.trim();
  if (error === 'undefined') return PROXY_FAILURE;
  return error === 'null' ? '' : error;
}
