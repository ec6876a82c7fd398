/** The entry point `milvus-otel/instrumentation`, for an app that starts its own OpenTelemetry SDK. */
import type { Tracer } from '@opentelemetry/api';
import { type RegisteredSdk, registeredSdk } from '../registered-sdk.ts';
import { MilvusInstrumentation as Instrumentation } from './instrumentation.ts';

export class MilvusInstrumentation extends Instrumentation {
  // Declared only, as in the base class.
  declare private isApiChecked: boolean | undefined;

  /** Read by each operation. Only then is it certain that the app's SDK has started. */
  protected override get tracer(): Tracer {
    if (!this.isApiChecked) {
      const registered = registeredSdk();
      this.isApiChecked = registered !== undefined;
      if (registered?.shared === false) warnOfForeignApi(registered);
    }
    return super.tracer;
  }
}

/** Without a common API, spans of operations have no parent, and their context is not sent. */
function warnOfForeignApi({ apiVersion }: RegisteredSdk): void {
  process.emitWarning(
    `Milvus calls cannot join the app's traces: the app's OpenTelemetry SDK uses @opentelemetry/api ${apiVersion}, older than the copy of milvus-otel. Install one version of @opentelemetry/api (npm ls @opentelemetry/api shows the copies).`,
    { type: 'MilvusOtelWarning' },
  );
}
