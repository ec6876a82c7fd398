/**
 * The gRPC status of a call whose answer has none, as grpc-js derives it. Source: grpc-js 1.14,
 * subchannel-call.ts.
 */

const CANCELLED = 1;
const UNKNOWN = 2;
const DEADLINE_EXCEEDED = 4;
const UNAVAILABLE = 14;

/** By HTTP status. Source: grpc/doc/http-grpc-status-mapping. */
const BY_HTTP_STATUS: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  429: UNAVAILABLE,
  502: UNAVAILABLE,
  503: UNAVAILABLE,
  504: UNAVAILABLE,
};

export const statusOfHttp = (httpStatus: number): number => BY_HTTP_STATUS[httpStatus] ?? UNKNOWN;

/** By the code of RST_STREAM. Source: RFC 9113, section 7. */
const BY_RESET: Readonly<Record<number, number>> = { 7: UNAVAILABLE, 8: CANCELLED, 11: 8, 12: 7 };
const INTERNAL = 13;

export interface ClosedStream {
  rstCode: number;
  isConnectionLost: boolean;
  isTimedOut: boolean;
}

/**
 * The status of a stream that closed without one. The client also resets it by CANCEL when its deadline has
 * passed.
 */
export function statusOfClosedStream({ rstCode, isConnectionLost, isTimedOut }: ClosedStream): number {
  if (isTimedOut) return DEADLINE_EXCEEDED;
  if (isConnectionLost) return UNAVAILABLE;
  return BY_RESET[rstCode] ?? INTERNAL;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** The header grpc-timeout, at most eight digits and a unit, in milliseconds. */
export function timeoutMs(header: unknown): number | undefined {
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(header)) ?? [];
  return digits === undefined || unit === undefined ? undefined : Number(digits) * (UNIT_MS[unit] as number);
}
