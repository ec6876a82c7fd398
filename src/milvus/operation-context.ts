/**
 * The two contexts of an operation, as one small object each. The API's own contexts copy a Map for each value that
 * is set, which three times a call was a good part of what a call cost.
 */
import { type Context, createContextKey, INVALID_SPAN_CONTEXT, type Span, trace } from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';

/** The operation whose code runs in a context. */
export const OPERATION = createContextKey('milvus-otel operation');
/** In the context of an RPC that has a span of its own: the context that goes onto the wire instead of the operation's. */
export const WIRE = createContextKey('milvus-otel wire context');

/** The key that `set` uses, which the API does not tell. */
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
   *   the context that goes onto the wire.
   */
  constructor(parent: Context, span: Span, inside?: object) {
    this.parent = parent;
    this.span = span;
    this.inside = inside;
  }

  /** From now on the context has nothing but the identity of its span: what outlives the operation may hold it for long. */
  forget(identity: Span): void {
    this.span = identity;
  }

  getValue(key: symbol): unknown {
    if (key === SPAN) return this.span;
    if (this.inside !== undefined) {
      if (key === OPERATION) return this.inside;
      if (key === SUPPRESSED) return true;
      // RPCs are below operations, never above.
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

  /** An ordinary context with the same values. The parent is one already, or makes one of itself. */
  private copy(): Context {
    const copy = this.parent.setValue(SPAN, this.span);
    return this.inside === undefined
      ? copy
      : copy.setValue(OPERATION, this.inside).setValue(SUPPRESSED, true);
  }
}
