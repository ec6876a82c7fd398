/** Sentry's SDK in the same process. Its versions 9 and 10 are built on OpenTelemetry, 11 only on request. */

/** Global of all Sentry SDKs: their data, by version. Source: @sentry/core 8 to 11, carrier. */
export const CARRIER = '__SENTRY__';

export const hasSentry = (): boolean => CARRIER in globalThis;
