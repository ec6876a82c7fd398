/**
 * The two contexts of an operation, as one small object each. The API's contexts copy a Map for each value that is set;
 * three copies per call were a large part of the cost of a call.
 */
import { type Context, createContextKey, INVALID_SPAN_CONTEXT, type Span, trace } from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';

/** The operation whose code runs in a context. */
export const OPERATION = createContextKey('milvus-otel operation');
/** Key in the context of an RPC with its own span: the context that is sent instead of the operation's. */
export const WIRE = createContextKey('milvus-otel wire context');

/** The key that `set` uses, which the API does not export. */
function keyOf(set: (context: Context) => Context): symbol {
  let found: symbol | undefined;
  const probe: Context = {
    getValue: () => undefined,
    setValue(key) {
      found = key;
      return probe;
    },
    deleteValue: () => probe,
  };
  set(probe);
  if (found === undefined) throw new Error('this version of @opentelemetry/api sets values in another way');
  return found;
}

const SPAN = keyOf((context) => trace.setSpan(context, trace.wrapSpanContext(INVALID_SPAN_CONTEXT)));
const SUPPRESSED = keyOf(suppressTracing);

export class OperationContext implements Context {
  private readonly parent: Context;
  private span: Span;
  private readonly inside: object | undefined;

  /**
   * @param inside the operation whose code runs in this context: tracing is suppressed in it. Without one, this is
   *   the context that is sent to the server.
   */
  constructor(parent: Context, span: Span, inside?: object) {
    this.parent = parent;
    this.span = span;
    this.inside = inside;
  }

  /** Reduces the context to the identity of its span: streams and timers may reference it long after the operation. */
  forget(identity: Span): void {
    this.span = identity;
  }

  getValue(key: symbol): unknown {
    if (key === SPAN) return this.span;
    if (this.inside !== undefined) {
      if (key === OPERATION) return this.inside;
      if (key === SUPPRESSED) return true;
      // An RPC is a child of an operation, never its parent.
      if (key === WIRE) return undefined;
    }
    return this.parent.getValue(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return this.copy().setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return this.copy().deleteValue(key);
  }

  /** An ordinary context with the same values. The parent is one already, or converts itself. */
  private copy(): Context {
    const copy = this.parent.setValue(SPAN, this.span);
    return this.inside === undefined
      ? copy
      : copy.setValue(OPERATION, this.inside).setValue(SUPPRESSED, true);
  }
}
