/**
 * The life of one operation's span: started before the SDK's method runs, ended with what it gave. Nothing in
 * here throws into the app: an attribute that cannot be read is left out.
 */
import {
  type Attributes,
  type Context,
  context,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { LeanSpan, type ShapeTracer, SpanShape } from '../trace/lean-span.ts';
import {
  ATTR,
  type AttributeSink,
  collectionName,
  databaseName,
  filterTexts,
  isHybridSearch,
  readCost,
  readRequest,
  type ServerAddress,
} from './attributes.ts';
import type { ClientFacts, ReadClient } from './client-facts.ts';
import { type HiddenValues, hiddenValuesOf, namesIn, withoutHidden } from './hidden-values.ts';
import type { RecordDuration } from './metrics.ts';
import { OperationContext, operationIn, WIRE } from './operation-context.ts';
import type { Operation } from './operations.ts';
import { type Failure, failureOfGrpc, failureOfResponse, failureOfThrown, UNIMPLEMENTED } from './status.ts';
import { type Carrier, writeHeaders, writeHeadersOf } from './trace-headers.ts';

const UNIMPLEMENTED_FAILURE = failureOfGrpc(UNIMPLEMENTED, 'This Milvus server does not implement the call.');

/** The operation whose code is running, if any. */
export function activeOperation(): OperationSpan | undefined {
  return operationIn(context.active());
}

/** What all operations of an instrumentation have in common. */
export interface SpanOptions {
  tracer: Tracer | ShapeTracer;
  captureFilter: boolean;
  /** Undefined while metrics are off: then nothing is measured. */
  recordDuration: RecordDuration | undefined;
}

/** Its fields are private to TypeScript only: until V8 optimises the constructor, a #name costs several times as much. */
export class OperationSpan {
  span: Span;
  /** The caller's context with this span, tracing not suppressed: what goes onto the wire. */
  private readonly wireContext: OperationContext;
  /**
   * The context that the SDK's method runs in. Tracing is suppressed in it, so that what other instrumentations
   * see of this operation (gRPC, pools, sockets) makes no spans beside it.
   */
  readonly inner: OperationContext;
  private readonly operation: Operation;
  private readonly recordDuration: RecordDuration | undefined;
  /** Those of the span's creation, which are the metric's too. */
  private attributes: Readonly<Attributes>;
  private readonly startMs: number;
  /** What must not show in a description; undefined when filters may be shown. */
  private hidden: readonly HiddenValues[] | undefined;
  private request: unknown;
  private rpcs = 0;
  private rpcFailure: Failure | undefined;
  private retries = 0;

  constructor(
    { tracer, captureFilter, recordDuration }: SpanOptions,
    method: string,
    operation: Operation,
    readClient: ReadClient,
    client: unknown,
    request: unknown,
    parent = context.active(),
  ) {
    const facts = attempt(readClient, client) ?? NO_FACTS;
    const name =
      method === 'search' && attempt(isHybridSearch, request) ? 'hybridSearch' : (operation.name ?? method);
    const collection = attempt(collectionName, request);
    const namespace = attempt(databaseName, request) ?? facts.database;
    const shape = shapeOf(facts.server, namespace, name, collection);
    this.span =
      'startShape' in tracer
        ? tracer.startShape(shape, parent)
        : tracer.startSpan(shape.name, { kind: shape.kind, attributes: { ...shape.attributes } }, parent);
    this.wireContext = new OperationContext(parent, this.span);
    this.inner = new OperationContext(parent, this.span, this);
    this.operation = operation;
    this.recordDuration = recordDuration;
    this.attributes = shape.attributes;
    this.startMs = recordDuration === undefined ? 0 : performance.now();
    if (!this.span.isRecording()) return;
    fill(readRequest, request, this.span);
    if (operation.reads !== undefined) fill(operation.reads, request, this.span);
    if (!captureFilter) {
      this.request = request;
      this.hidden = NOTHING;
      this.rpcSent(request);
      return;
    }
    const filters = attempt(filterTexts, request) ?? NO_FILTERS;
    // Not by setAttribute: a lean span keeps what is likely to come again.
    if (filters.length > 0) this.span.setAttributes({ [ATTR.queryText]: filters.join('; ') });
  }

  /** @param message what goes out: the SDK builds an expression itself for primary keys. */
  rpcSent(message: unknown): void {
    if (this.hidden === undefined || this.hidden === EVERYTHING) return;
    const hidden = attempt(hiddenValuesOf, message);
    if (hidden !== undefined) this.hidden = [...this.hidden, hidden];
  }

  /** Starts the child span of one RPC. Attributes as instrumentation-grpc has them. */
  startRpc(tracer: Tracer, rpc: string): { span: Span; context: Context } {
    const service = 'milvus.proto.milvus.MilvusService';
    const attributes: Attributes = { 'rpc.system': 'grpc', 'rpc.service': service, 'rpc.method': rpc };
    for (const key of [ATTR.serverAddress, ATTR.serverPort]) {
      if (this.attributes[key] !== undefined) attributes[key] = this.attributes[key];
    }
    const span = tracer.startSpan(
      `${service}/${rpc}`,
      { kind: SpanKind.CLIENT, attributes },
      this.wireContext,
    );
    return { span, context: context.active().setValue(WIRE, trace.setSpan(this.wireContext, span)) };
  }

  /** @param active the context that the RPC runs in. */
  inject(carrier: Carrier, active = context.active()): void {
    const ofRpc = active.getValue(WIRE) as Context | undefined;
    const { span, wireContext } = this;
    if (ofRpc === undefined && span instanceof LeanSpan)
      writeHeadersOf(span.spanContext(), carrier, wireContext, span.traceparent);
    else writeHeaders(carrier, ofRpc ?? wireContext);
  }

  /** Keeps what one of the operation's RPCs answered: a later throw of the SDK may hide it. */
  rpcAnswered(response: unknown): void {
    this.rpcs++;
    this.rpcFailure = attempt(isUnimplemented, response)
      ? UNIMPLEMENTED_FAILURE
      : attempt(failureOfResponse, response);
  }

  /** Keeps why one of its RPCs failed: some SDKs throw an Error of their own made of it. */
  rpcRejected(error: unknown): void {
    this.rpcs++;
    this.rpcFailure = attempt((thrown) => failureOfThrown(thrown, undefined), error);
  }

  rpcRetried(): void {
    this.retries++;
  }

  end(response: unknown): void {
    // Not sampled and not measured: nobody would see what became of it.
    if (!this.span.isRecording() && this.recordDuration === undefined) {
      this.span.end();
      return;
    }
    // An operation of one RPC, which the server does not have: the SDK hides that behind an empty answer.
    const unimplemented = this.rpcs === 1 && this.rpcFailure === UNIMPLEMENTED_FAILURE;
    const failure =
      attempt(failureOfResponse, response) ?? (unimplemented ? UNIMPLEMENTED_FAILURE : undefined);
    if (failure === undefined && this.span.isRecording()) {
      if (this.operation.answers !== undefined) fill(this.operation.answers, response, this.span);
      fill(readCost, response, this.span);
    }
    this.finish(failure);
  }

  endThrown(thrown: unknown): void {
    let failure: Failure;
    try {
      failure = failureOfThrown(thrown, this.rpcFailure, this.operation.rpcIsCause);
    } catch {
      failure = this.rpcFailure ?? { statusCode: undefined, errorType: '_OTHER', reason: '' };
    }
    this.finish(failure);
  }

  private finish(failure: Failure | undefined): void {
    if (failure !== undefined) {
      const outcome: Attributes = { [ATTR.errorType]: failure.errorType };
      if (failure.statusCode !== undefined) outcome[ATTR.statusCode] = failure.statusCode;
      this.span.setAttributes(outcome);
      this.span.setStatus({ code: SpanStatusCode.ERROR, message: this.describe(failure.reason) });
      if (this.recordDuration !== undefined) this.attributes = { ...this.attributes, ...outcome };
    }
    if (this.retries > 0) this.span.setAttribute(ATTR.retries, this.retries);
    this.span.end();
    this.recordDuration?.(this.span, this.startMs, this.attributes);
    this.forget();
  }

  /**
   * What the SDK leaves behind (a stream that closes, a timer) holds the context, and in it all of this, until the garbage
   * collector has moved it several times. The span itself is no longer needed there.
   */
  private forget(): void {
    const identity = trace.wrapSpanContext(this.span.spanContext());
    this.span = identity;
    this.attributes = NO_ATTRIBUTES;
    // An RPC may outlast its operation.
    if (this.hidden !== undefined) this.hidden = EVERYTHING;
    this.request = undefined;
    this.wireContext.forget(identity);
    this.inner.forget(identity);
  }

  /** A reason without the filters, keys and values of the request: Milvus quotes what it cannot use. */
  describe(reason: string): string {
    const { hidden } = this;
    if (hidden === EVERYTHING) return '';
    if (hidden === undefined || hidden === NOTHING || reason === '') return reason;
    const names = attempt(namesIn, this.request) ?? [];
    // When it cannot be told what to hide, all of it is.
    return attempt((text) => withoutHidden(text, hidden, names), reason) ?? '';
  }
}

const NOTHING: readonly HiddenValues[] = [];
const EVERYTHING: readonly HiddenValues[] = [];

const NO_ATTRIBUTES: Attributes = {};

type ByText<T> = Map<string | undefined, T>;

/** By server, database, operation and collection, in this order: what an app has fewest of comes first. */
const shapes = new Map<ServerAddress | undefined, ByText<ByText<ByText<SpanShape>>>>();
let shapesKept = 0;
let followers = { count: 0 };
/** Operations and collections are few; a program that makes them up without end must not fill the memory. */
const MAX_SHAPES = 2_000;
/** Characters of database and collection; Milvus' own names have at most 255 each. */
const LONGEST_KEPT = 510;

/** What a span is at its creation, made once for all calls that are alike in it. */
function shapeOf(
  server: ServerAddress | undefined,
  namespace: string | undefined,
  name: string,
  collection: string | undefined,
): SpanShape {
  const known = shapes.get(server)?.get(namespace)?.get(name)?.get(collection);
  if (known !== undefined) return known;
  const attributes: Attributes = { [ATTR.system]: 'milvus', [ATTR.operation]: name };
  if (collection !== undefined) attributes[ATTR.collection] = collection;
  if (namespace !== undefined) attributes[ATTR.namespace] = namespace;
  if (server !== undefined) attributes[ATTR.serverAddress] = server.address;
  if (server?.port !== undefined) attributes[ATTR.serverPort] = server.port;
  const target = collection ?? namespace ?? server?.address;
  const spanName = target === undefined ? name : `${name} ${target}`;
  if ((collection?.length ?? 0) + (namespace?.length ?? 0) > LONGEST_KEPT)
    return new SpanShape(spanName, SpanKind.CLIENT, attributes);
  if (shapesKept++ >= MAX_SHAPES) {
    shapes.clear();
    shapesKept = 1;
    followers = { count: 0 };
  }
  const shape = new SpanShape(spanName, SpanKind.CLIENT, attributes, followers);
  const byDatabase = getOrMake(shapes, server, (): ByText<ByText<ByText<SpanShape>>> => new Map());
  const byOperation = getOrMake(byDatabase, namespace, (): ByText<ByText<SpanShape>> => new Map());
  getOrMake(byOperation, name, (): ByText<SpanShape> => new Map()).set(collection, shape);
  return shape;
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const value = map.get(key) ?? make();
  map.set(key, value);
  return value;
}

const NO_FILTERS: readonly string[] = [];

const NO_FACTS: ClientFacts = { server: undefined, database: undefined };

/** Reads one value out of anything; what throws (a getter, a proxy) reads as not there. */
function attempt<T, R>(read: (source: T) => R, source: T): R | undefined {
  try {
    return read(source);
  } catch {
    return undefined;
  }
}

function fill(
  read: (source: unknown, sink: AttributeSink) => void,
  source: unknown,
  sink: AttributeSink,
): void {
  try {
    read(source, sink);
  } catch {
    // A getter or proxy of the app's refused: what was read until then stays.
  }
}

/** UNIMPLEMENTED reaches the SDK's callers as `{}`; every real answer of Milvus has fields. Source: SDK 3.0.6. */
export function isUnimplemented(response: unknown): boolean {
  if (typeof response !== 'object' || response === null) return false;
  for (const _ in response) return false;
  return true;
}
