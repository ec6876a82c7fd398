/**
 * The span of one operation: started before the SDK's method runs, ended with its result. Nothing in here
 * throws into the app: an attribute that cannot be read is left out.
 */
import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapSetter,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';
import {
  ATTR_RPC_METHOD,
  ATTR_RPC_SYSTEM_NAME,
  RPC_SYSTEM_NAME_VALUE_GRPC,
} from '@opentelemetry/semantic-conventions';
import {
  ATTR,
  type AttributeSink,
  clientRequestId,
  collectionName,
  databaseName,
  filterTexts,
  isHybridSearch,
  readCost,
  readRequest,
  type ServerAddress,
  serverTarget,
} from './attributes.ts';
import type { ClientFacts, ReadClient } from './client-facts.ts';
import { withoutHidden } from './hidden-text.ts';
import { type HiddenValues, hiddenValuesOf, namesIn, secretsOf } from './hidden-values.ts';
import type { OperationMetrics, Series } from './metrics.ts';
import type { Operation } from './operations.ts';
import { sendContext } from './propagation.ts';
import {
  type Failure,
  failureOfResponse,
  failureOfStatuses,
  failureOfThrown,
  UNIMPLEMENTED_FAILURE,
} from './status.ts';

/** The operation whose code runs in a context. */
const OPERATION = createContextKey('milvus-otel operation');
/** In the context of an RPC with its own span: the context that is sent instead of the operation's. */
const WIRE = createContextKey('milvus-otel wire context');

/** The operation whose code is running in `active`, if any. */
export const operationIn = (active: Context): OperationSpan | undefined =>
  active.getValue(OPERATION) as OperationSpan | undefined;

/** gRPC's Metadata, or the headers of a REST call. */
export type Carrier = { set(key: string, value: string): void } | Record<string, string>;

/** `set`, not Metadata's `add`: exactly one traceparent is sent, also when other code has written one. */
const CARRIER_SETTER: TextMapSetter<Carrier> = {
  set(carrier, key, value) {
    if (typeof carrier.set === 'function') carrier.set(key, value);
    else (carrier as Record<string, string>)[key] = value;
  },
};

/** Shared by all operations of an instrumentation. */
export interface SpanOptions {
  tracer: Tracer;
  captureFilter: boolean;
  /** Undefined while metrics are off. */
  metrics: Pick<OperationMetrics, 'started' | 'ended'> | undefined;
}

/**
 * Its fields are private to TypeScript only: until V8 optimises the constructor, a #name costs several times
 * as much.
 */
export class OperationSpan {
  span: Span;
  /** The caller's context with this span, tracing not suppressed. It is sent to the server. */
  private readonly wireContext: Context;
  /**
   * The context that the SDK's method runs in. Tracing is suppressed in it, so that other instrumentations
   * (gRPC, pools, sockets) create no spans for this operation.
   */
  readonly inner: Context;
  private readonly operation: Operation;
  private readonly metrics: SpanOptions['metrics'];
  private readonly series: Series | undefined;
  /** Attributes at the span's creation, which the metric has too. */
  private attributes: Readonly<Attributes>;
  private readonly startMs: number;
  readonly server: ServerAddress | undefined;
  /** The database that the request names. */
  private readonly requestDatabase: string | undefined;
  /** The database that the current RPC names. */
  private rpcDatabase: string | undefined;
  /** An RPC has carried the request's database. */
  private isDatabaseSure = false;
  /** Values that a description must not contain; undefined when it may contain any. */
  private hidden: readonly HiddenValues[] | undefined;
  private request: unknown;
  private rpcs = 0;
  private rpcFailure: Failure | undefined;
  private retries = 0;

  constructor(
    { tracer, captureFilter, metrics }: SpanOptions,
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
    this.requestDatabase = attempt(databaseName, request);
    const namespace = this.requestDatabase ?? facts.database;
    this.attributes = creationAttributes(facts.server, namespace, name, collection);
    this.span = tracer.startSpan(
      nameOf(name, collection, namespace, facts.server),
      { kind: SpanKind.CLIENT, attributes: this.attributes },
      parent,
    );
    this.wireContext = trace.setSpan(parent, this.span);
    this.inner = suppressTracing(this.wireContext.setValue(OPERATION, this));
    this.operation = operation;
    this.metrics = metrics;
    this.series = metrics?.started(this.attributes);
    this.server = facts.server;
    this.startMs = metrics === undefined ? 0 : performance.now();
    if (!this.span.isRecording()) return;
    fill(readRequest, request, this.span);
    if (operation.reads !== undefined) fill(operation.reads, request, this.span);
    const requestId = attempt(clientRequestId, request);
    if (requestId !== undefined) this.span.setAttribute(ATTR.clientRequestId, requestId);
    const { secrets } = operation;
    if (!captureFilter || secrets !== undefined) {
      this.request = request;
      this.hidden = NOTHING;
      if (secrets !== undefined) this.hide(request, (given) => secretsOf(given, secrets));
      this.hide(request);
    }
    if (!captureFilter) return;
    const filters = attempt(filterTexts, request) ?? NO_FILTERS;
    if (filters.length > 0) this.span.setAttribute(ATTR.queryText, filters.join('; '));
  }

  /**
   * @param sent a request, or the message of an RPC: for primary keys, the SDK creates an expression in it.
   */
  private hide(sent: unknown, valuesOf: (sent: unknown) => HiddenValues | undefined = hiddenValuesOf): void {
    if (this.hidden === undefined || this.hidden === EVERYTHING) return;
    try {
      const hidden = valuesOf(sent);
      if (hidden !== undefined) this.hidden = [...this.hidden, hidden];
    } catch {
      // A getter or proxy of the app threw. What cannot be read cannot be found in a reason.
      this.hidden = EVERYTHING;
    }
  }

  /** @param message the message of an RPC of the operation. */
  rpcSent(message: unknown): void {
    this.hide(message);
    this.rpcDatabase = attempt(databaseName, message);
    if (this.rpcDatabase !== undefined && this.rpcDatabase === this.requestDatabase)
      this.isDatabaseSure = true;
  }

  /** Starts the child span of one RPC. */
  startRpc(tracer: Tracer, rpc: string): { span: Span; context: Context } {
    const method = `milvus.proto.milvus.MilvusService/${rpc}`;
    const attributes: Attributes = {
      [ATTR_RPC_SYSTEM_NAME]: RPC_SYSTEM_NAME_VALUE_GRPC,
      [ATTR_RPC_METHOD]: method,
    };
    for (const key of [ATTR.serverAddress, ATTR.serverPort]) {
      if (this.attributes[key] !== undefined) attributes[key] = this.attributes[key];
    }
    const span = tracer.startSpan(method, { kind: SpanKind.CLIENT, attributes }, this.wireContext);
    return { span, context: context.active().setValue(WIRE, trace.setSpan(this.wireContext, span)) };
  }

  /**
   * Writes the trace context of an RPC or REST request that is sent now.
   *
   * @param active the context that the RPC runs in.
   * @param database the client's, which is used when the RPC names none. Undefined: the client has none.
   */
  inject(carrier: Carrier, active = context.active(), database?: string): void {
    const namespace = this.rpcDatabase ?? database;
    // useDatabase may have changed it since this call began.
    if (namespace !== undefined && namespace !== this.attributes[ATTR.namespace]) this.moveTo(namespace);
    const ofRpc = active.getValue(WIRE) as Context | undefined;
    sendContext(ofRpc ?? this.wireContext, carrier, CARRIER_SETTER);
  }

  private moveTo(namespace: string): void {
    if (this.isDatabaseSure) return;
    this.attributes = { ...this.attributes, [ATTR.namespace]: namespace };
    this.span.setAttribute(ATTR.namespace, namespace);
    const { [ATTR.operation]: operation, [ATTR.collection]: collection } = this.attributes;
    if (collection === undefined)
      this.span.updateName(nameOf(operation as string, undefined, namespace, this.server));
  }

  /** Stores the answer of one of the operation's RPCs: a later error of the SDK may hide it. */
  rpcAnswered(response: unknown): void {
    this.rpcs++;
    this.rpcFailure = attempt(isUnimplemented, response)
      ? UNIMPLEMENTED_FAILURE
      : attempt(failureOfResponse, response);
  }

  /** Stores the failure of one of its RPCs: some SDK versions throw another Error with its text. */
  rpcRejected(error: unknown): void {
    this.rpcs++;
    this.rpcFailure = attempt((thrown) => failureOfThrown(thrown, undefined), error);
  }

  rpcRetried(): void {
    this.retries++;
    if (this.series !== undefined) this.series.retries++;
  }

  end(response: unknown): void {
    // Neither sampled nor measured: the outcome is not needed.
    if (!this.span.isRecording() && this.metrics === undefined) {
      this.span.end();
      return;
    }
    // An operation of one RPC, which the server does not have: the SDK hides that behind an empty answer.
    const unimplemented = this.rpcs === 1 && this.rpcFailure === UNIMPLEMENTED_FAILURE;
    const { answers, rows, statuses } = this.operation;
    const failure =
      attempt(statuses ? failureOfStatuses : failureOfResponse, response) ??
      (unimplemented ? UNIMPLEMENTED_FAILURE : undefined);
    let returnedRows: number | undefined;
    if (failure === undefined) {
      if (rows !== undefined) returnedRows = attempt(rows, response);
      if (this.span.isRecording()) {
        if (returnedRows !== undefined) this.span.setAttribute(ATTR.returnedRows, returnedRows);
        if (answers !== undefined) fill(answers, response, this.span);
        fill(readCost, response, this.span);
      }
    }
    this.finish(failure, returnedRows);
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

  private finish(failure: Failure | undefined, returnedRows?: number): void {
    if (failure !== undefined) {
      const outcome: Attributes = { [ATTR.errorType]: failure.errorType };
      if (failure.statusCode !== undefined) outcome[ATTR.statusCode] = failure.statusCode;
      this.span.setAttributes(outcome);
      this.span.setStatus({ code: SpanStatusCode.ERROR, message: this.describe(failure.reason) });
      if (this.metrics !== undefined) this.attributes = { ...this.attributes, ...outcome };
    }
    if (this.retries > 0) this.span.setAttribute(ATTR.retries, this.retries);
    this.span.end();
    if (this.series !== undefined)
      this.metrics?.ended(this.series, this.span, this.startMs, this.attributes, returnedRows);
    this.forget();
  }

  /**
   * Streams and timers of the SDK reference the context after the operation, and through it all of these
   * fields, until the garbage collector has moved them several times.
   */
  private forget(): void {
    this.span = trace.wrapSpanContext(this.span.spanContext());
    this.attributes = NO_ATTRIBUTES;
    // An RPC may outlast its operation.
    if (this.hidden !== undefined) this.hidden = EVERYTHING;
    this.request = undefined;
  }

  /** A reason without the filters, keys and values of the request: Milvus quotes invalid ones. */
  describe(reason: string): string {
    const { hidden } = this;
    if (hidden === EVERYTHING) return '';
    if (hidden === undefined || hidden === NOTHING || reason === '') return reason;
    const names = attempt(namesIn, this.request) ?? [];
    // When the values to hide are unknown, the whole reason is hidden.
    return attempt((text) => withoutHidden(text, hidden, names), reason) ?? '';
  }
}

const NOTHING: readonly HiddenValues[] = [];
const EVERYTHING: readonly HiddenValues[] = [];

const NO_ATTRIBUTES: Attributes = {};

function creationAttributes(
  server: ServerAddress | undefined,
  namespace: string | undefined,
  name: string,
  collection: string | undefined,
): Attributes {
  const attributes: Attributes = { [ATTR.system]: 'milvus', [ATTR.operation]: name };
  if (collection !== undefined) attributes[ATTR.collection] = collection;
  if (namespace !== undefined) attributes[ATTR.namespace] = namespace;
  if (server !== undefined) attributes[ATTR.serverAddress] = server.address;
  if (server?.port !== undefined) attributes[ATTR.serverPort] = server.port;
  return attributes;
}

/** `{operation} {target}`, as in the semantic conventions. */
export function nameOf(
  operation: string,
  collection: string | undefined,
  namespace: string | undefined,
  server: ServerAddress | undefined,
): string {
  const target = collection ?? namespace ?? (server === undefined ? undefined : serverTarget(server));
  return target === undefined ? operation : `${operation} ${target}`;
}

const NO_FILTERS: readonly string[] = [];

const NO_FACTS: ClientFacts = { server: undefined, database: undefined };

/** Reads one value of any object; an error of a getter or proxy reads as undefined. */
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
    // A getter or proxy of the app threw: the attributes that were read before stay.
  }
}

/**
 * UNIMPLEMENTED reaches the SDK's callers as `{}`; every real answer of Milvus has fields. Source: SDK 3.0.6.
 */
export function isUnimplemented(response: unknown): boolean {
  if (typeof response !== 'object' || response === null) return false;
  for (const _ in response) return false;
  return true;
}
