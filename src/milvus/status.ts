/**
 * Classifies statuses of Milvus and gRPC, for the status and attributes of spans. Pure functions that never
 * throw on plain data; the caller catches errors of getters.
 */
import { GRPC_STATUS_NAMES, GrpcStatus } from '../grpc-status.ts';
import { errorName } from './error-names.ts';

/** Why an operation failed, in the words of the server, gRPC or the SDK. */
export interface Failure {
  /**
   * For `db.response.status_code`: Milvus' code as text, or the name of a gRPC status. Undefined: none was
   * given.
   */
  statusCode: string | undefined;
  /** For `error.type`: the name of Milvus' code or of a gRPC status, or the class of what was thrown. */
  errorType: string;
  /** The reason for the span's status; '' when there is none. */
  reason: string;
}

export const { UNIMPLEMENTED } = GrpcStatus;

type Fields = Record<string, unknown>;

const fields = (value: unknown): Fields | undefined =>
  typeof value === 'object' && value !== null ? (value as Fields) : undefined;

const isCode = (value: unknown): boolean =>
  value === undefined || value === null || typeof value === 'string' || typeof value === 'number';

/** No code, or 0 as number or text. */
const isZero = (code: unknown): boolean =>
  code === undefined || code === null || code === 0 || code === '' || code === '0';

/** Success is code 0 and error_code unset, 0 or 'Success'; the SDK fills in '' when it sent no request. */
const succeeded = (code: unknown, errorCode: unknown): boolean =>
  isZero(code) &&
  (errorCode === undefined ||
    errorCode === null ||
    errorCode === '' ||
    errorCode === 0 ||
    errorCode === '0' ||
    errorCode === 'Success' ||
    errorCode === 'SUCCESS');

/**
 * The failure in a Milvus status object `{ error_code, code, reason }`; undefined for success or another
 * shape.
 */
function failureOfStatus(status: unknown): Failure | undefined {
  const given = fields(status);
  if (given === undefined) return undefined;
  const { error_code: errorCode, code } = given;
  // Success, as in nearly all answers, and values that are no status.
  if ((code === 0 || code === undefined) && (errorCode === 'Success' || errorCode === undefined))
    return undefined;
  if (!isCode(code) || !isCode(errorCode) || succeeded(code, errorCode)) return undefined;
  const { reason, message } = given;
  // The REST API has code and message. In version 1, 200 is success; with a message it is a missing
  // partition.
  if (errorCode === undefined && code === 200 && !message) return undefined;
  const words = reason ?? message;
  const oldCode = typeof errorCode === 'string' && !succeeded(undefined, errorCode) ? errorCode : undefined;
  // Servers of version 2.2 send no code; newer ones may send a code together with error_code 'Success'.
  const statusCode = String(isZero(code) ? errorCode : code);
  return {
    statusCode,
    errorType: errorName(isZero(code) ? undefined : (code as string | number), oldCode) ?? statusCode,
    reason: typeof words === 'string' ? words : '',
  };
}

/**
 * The failure in what an RPC or an operation answered: a bad status inside a gRPC OK, as `response.status`,
 * as the response itself, or as `response.alter_status`. Undefined for success. Source: SDK 3.0.6.
 */
export function failureOfResponse(response: unknown): Failure | undefined {
  const answer = fields(response);
  if (answer === undefined) return undefined;
  return failureOfStatus(answer.status) ?? failureOfStatus(answer.alter_status) ?? failureOfStatus(answer);
}

/** The first failure among several statuses, as `dropAllRoles` and `dropAllResourceGroups` return them. */
export function failureOfStatuses(response: unknown): Failure | undefined {
  if (!Array.isArray(response)) return undefined;
  for (const status of response) {
    const failure = failureOfStatus(status);
    if (failure !== undefined) return failure;
  }
  return undefined;
}

/**
 * The failure in what an operation threw. The SDK throws ServiceErrors of gRPC (`code` 1 to 16 and
 * `details`), plain status objects, objects that carry `.status`, and Errors.
 *
 * @param rpcFailure the failure of the operation's last RPC, when that failed. It is used when the thrown
 *   value hides it: a TypeError on an empty response, or an Error with its reason.
 * @param rpcIsCause whether a failed RPC is the cause of any later Error.
 */
export function failureOfThrown(
  thrown: unknown,
  rpcFailure: Failure | undefined,
  rpcIsCause = false,
): Failure {
  const error = fields(thrown);
  const message = typeof error?.message === 'string' ? error.message : '';
  const code = error?.code;
  if (
    typeof code === 'number' &&
    error !== undefined &&
    'details' in error &&
    GRPC_STATUS_NAMES[code] !== undefined
  ) {
    const details = typeof error.details === 'string' && error.details !== '' ? error.details : message;
    return { statusCode: GRPC_STATUS_NAMES[code], errorType: GRPC_STATUS_NAMES[code], reason: details };
  }
  // HttpError of the REST client; its message quotes the server's answer and the URL.
  if (error?.name === 'HttpError' && typeof error.status === 'number') {
    const status = String(error.status);
    return {
      statusCode: status,
      errorType: status,
      reason: `HTTP ${status} ${typeof error.statusText === 'string' ? error.statusText : ''}`.trim(),
    };
  }
  const own = thrown instanceof Error ? undefined : failureOfResponse(thrown);
  if (own !== undefined) return own;
  if (
    rpcFailure !== undefined &&
    (thrown instanceof TypeError ||
      (rpcIsCause && thrown instanceof Error) ||
      (rpcFailure.reason !== '' && message.includes(rpcFailure.reason)))
  ) {
    return rpcFailure;
  }
  return {
    statusCode: undefined,
    errorType: className(thrown),
    reason: message,
  };
}

/** The class of an error; for a DOMException its more specific name, for instance AbortError. */
function className(thrown: unknown): string {
  if (!(thrown instanceof Error)) return '_OTHER';
  return thrown instanceof DOMException ? thrown.name : thrown.constructor.name || thrown.name;
}

/** The name of a gRPC status code; an unknown code as text. */
export const grpcStatusName = (code: number): string => GRPC_STATUS_NAMES[code] ?? String(code);

/** The failure that a gRPC status code of a call stands for. */
export function failureOfGrpc(code: number, details: string): Failure {
  const name = grpcStatusName(code);
  return { statusCode: name, errorType: name, reason: details };
}

/** The SDK turns UNIMPLEMENTED into an empty answer, so the reason is written here. */
export const UNIMPLEMENTED_FAILURE: Failure = failureOfGrpc(
  UNIMPLEMENTED,
  'This Milvus server does not implement the call.',
);
