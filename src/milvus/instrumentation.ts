/** The patches of @zilliz/milvus2-sdk-node. operation-span.ts has the spans. */
import {
  type Context,
  context,
  type MeterProvider,
  metrics,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { isTracingSuppressed, suppressTracing } from '@opentelemetry/core';
import {
  InstrumentationBase,
  type InstrumentationConfig,
  InstrumentationNodeModuleDefinition,
  InstrumentationNodeModuleFile,
} from '@opentelemetry/instrumentation';
import { ATTR_ERROR_TYPE, ATTR_RPC_STATUS_CODE } from '@opentelemetry/semantic-conventions';
import { SCHEMA_URL, SCOPE, VERSION } from '../version.ts';
import { type ReadClient, readGrpcClient, readGrpcDatabase, readHttpClient } from './client-facts.ts';
import { type OperationMetrics, operationMetrics } from './metrics.ts';
import { type Carrier, isUnimplemented, OperationSpan, operationIn } from './operation-span.ts';
import { HTTP_OPERATIONS, OPERATIONS, type Operation } from './operations.ts';
import { SDK, SUPPORTED_VERSIONS } from './sdk-version.ts';
import { grpcStatusName, UNIMPLEMENTED } from './status.ts';

export interface MilvusInstrumentationConfig extends InstrumentationConfig {
  /** Put the filter expression into `db.query.text`. It may hold user data. Default false. */
  captureFilter?: boolean;
  /** A child span for each RPC of an operation. Default false. */
  rpcSpans?: boolean;
}

/** The request methods from which grpc-js creates the methods of a service. Source: Client, grpc-js 1.14. */
const GRPC_REQUESTS = [
  'makeUnaryRequest',
  'makeClientStreamRequest',
  'makeServerStreamRequest',
  'makeBidiStreamRequest',
];

type AnyFunction = (this: any, ...args: any[]) => any;
type Wrapper = (original: AnyFunction) => AnyFunction;

/** Shared by all calls of a wrapped method. */
interface TracedMethod {
  method: string;
  operation: Operation;
  readClient: ReadClient;
  original: AnyFunction;
}

export class MilvusInstrumentation extends InstrumentationBase<MilvusInstrumentationConfig> {
  // Declared only: the base constructor calls init() and enable() before an initialiser here would run.
  declare private undo: (() => void)[];
  declare private wrappers: WeakSet<AnyFunction>;
  declare private metrics: OperationMetrics | undefined;
  declare private schemaTracer: Tracer | undefined;

  constructor(config: MilvusInstrumentationConfig = {}) {
    super(SCOPE, VERSION, config);
    this.setMeterProvider(metrics.getMeterProvider());
  }

  /** The base class passes no schema URL to its tracer and meter. */
  protected override get tracer(): Tracer {
    this.schemaTracer ??= trace.getTracerProvider().getTracer(SCOPE, VERSION, { schemaUrl: SCHEMA_URL });
    return this.schemaTracer;
  }

  override setTracerProvider(provider: TracerProvider): void {
    this.schemaTracer = provider.getTracer(SCOPE, VERSION, { schemaUrl: SCHEMA_URL });
  }

  override setMeterProvider(provider: MeterProvider): void {
    this.metrics = operationMetrics(provider.getMeter(SCOPE, VERSION, { schemaUrl: SCHEMA_URL }));
  }

  protected override init(): InstrumentationNodeModuleDefinition[] {
    // The base class may call this again, and the definitions must keep their patched modules.
    this.undo ??= [];
    this.wrappers ??= new WeakSet();
    const file = (path: string, patch: (exports: any) => void) => {
      // An app may load several copies of the SDK; the base class stores only the last one.
      const copies = new Set<unknown>();
      return new InstrumentationNodeModuleFile(
        `${SDK}/dist/milvus/${path}`,
        SUPPORTED_VERSIONS,
        (exports) => {
          copies.add(exports);
          for (const copy of copies) {
            try {
              patch.call(this, copy);
            } catch (error) {
              this._diag.error(`${SDK}/dist/milvus/${path} could not be patched`, error);
            }
          }
          return exports;
        },
        () => this.restore(),
      );
    };
    return [
      new InstrumentationNodeModuleDefinition(SDK, SUPPORTED_VERSIONS, undefined, undefined, [
        // Before a client exists: constructors copy methods and exports, so later patches have no effect.
        file('MilvusClient.js', this.patchClient),
        file('HttpClient.js', this.patchHttpClient),
        file('utils/Function.js', this.patchFunctions),
        file('utils/Grpc.js', this.patchGrpc),
        file('utils/logger.js', this.quietLogger),
        file('utils/GlobalTopology.js', ({ TopologyRefresher }) =>
          this.runInBackground(TopologyRefresher?.prototype, 'start'),
        ),
        file('telemetry/ClientTelemetry.js', ({ ClientTelemetryManager }) =>
          this.runInBackground(ClientTelemetryManager?.prototype, 'start'),
        ),
      ]),
    ];
  }

  /**
   * Patches each method of the client's class chain that is in the table, and the hook that writes gRPC
   * metadata.
   */
  private patchClient({ MilvusClient }: { MilvusClient?: { prototype: object } }): void {
    let prototype: object | null = MilvusClient?.prototype ?? null;
    // Operations suppress gRPC's instrumentation. Without this hook, no trace context would be sent.
    if (prototype === null || !('metadataListener' in prototype)) {
      throw new Error('this SDK has no metadataListener');
    }
    while (prototype !== null && prototype !== Object.prototype) {
      for (const method of Object.getOwnPropertyNames(prototype)) {
        const operation = Object.hasOwn(OPERATIONS, method) ? OPERATIONS[method] : undefined;
        if (operation !== undefined)
          this.replace(prototype, method, (original) =>
            this.traced({ method, operation, readClient: readGrpcClient, original }),
          );
      }
      this.replace(prototype, 'metadataListener', (original) => this.injecting(original, readGrpcDatabase));
      prototype = Object.getPrototypeOf(prototype);
    }
  }

  /** REST: every method of the mixins is one call. */
  private patchHttpClient({
    HttpClient,
    HttpBaseClient,
  }: Record<string, { prototype: object } | undefined>): void {
    let prototype: object | null = HttpClient?.prototype ?? null;
    const base = HttpBaseClient?.prototype ?? baseOf(prototype);
    while (prototype !== null && prototype !== base && prototype !== Object.prototype) {
      for (const method of Object.getOwnPropertyNames(prototype)) {
        if (method === 'constructor') continue;
        const operation =
          (Object.hasOwn(HTTP_OPERATIONS, method) ? HTTP_OPERATIONS[method] : undefined) ?? {};
        this.replace(prototype, method, (original) =>
          this.traced({ method, operation, readClient: readHttpClient, original }),
        );
      }
      prototype = Object.getPrototypeOf(prototype);
    }
    const headers = base === null ? undefined : Object.getOwnPropertyDescriptor(base, 'headers');
    const getHeaders = headers?.get;
    if (base === null || headers === undefined || getHeaders === undefined) return;
    if (this.wrappers.has(getHeaders)) return;
    const injecting = this.injecting(getHeaders);
    Object.defineProperty(injecting, 'name', { value: getHeaders.name, configurable: true });
    this.wrappers.add(injecting);
    Object.defineProperty(base, 'headers', { ...headers, get: injecting });
    this.undo.push(() => Object.defineProperty(base, 'headers', headers));
  }

  private traced(target: TracedMethod): AnyFunction {
    const instrumentation = this;
    // Method syntax, as in the SDK: a function expression would have a `prototype` and accept `new`.
    return {
      traced(this: unknown, ...args: unknown[]) {
        const active = context.active();
        // Public methods call public methods. A call inside an operation, whose context suppresses tracing,
        // is part of that operation.
        if (!instrumentation.isEnabled() || isTracingSuppressed(active))
          return target.original.apply(this, args);
        return instrumentation.run(target, active, this, args[0], this, args);
      },
    }.traced;
  }

  /** Runs `original` in a new span and returns its result: same value, same error, sync or async. */
  private run(
    { method, operation, readClient, original }: TracedMethod,
    parent: Context,
    client: unknown,
    request: unknown,
    self: unknown,
    args: unknown[],
  ): unknown {
    let span: OperationSpan;
    try {
      const { captureFilter = false } = this.getConfig();
      const options = { tracer: this.tracer, captureFilter, metrics: this.metrics };
      span = new OperationSpan(options, method, operation, readClient, client, request, parent);
    } catch (error) {
      this._diag.error('A span could not be started', error);
      return original.apply(self, args);
    }
    let result: any;
    const stackTraceLimit = raiseStackTraceLimit();
    try {
      // A closure: context.with would turn an undefined `this` into null, and bind any other.
      result = context.with(span.inner, Reflect.apply, undefined, original, self, args);
    } catch (thrown) {
      this.endThrown(span, thrown);
      throw thrown;
    } finally {
      if (stackTraceLimit !== undefined) Error.stackTraceLimit = stackTraceLimit;
    }
    if (typeof result?.then !== 'function') {
      this.end(span, result);
      return result;
    }
    // The app gets the derived promise, so a rejection that it does not handle stays unhandled.
    return result.then(
      (value: unknown) => {
        this.end(span, value);
        return value;
      },
      (thrown: unknown) => {
        this.endThrown(span, thrown);
        throw thrown;
      },
    );
  }

  private end(span: OperationSpan, value: unknown): void {
    try {
      span.end(value);
    } catch (error) {
      this.couldNotEnd(error);
    }
  }

  private endThrown(span: OperationSpan, thrown: unknown): void {
    try {
      span.endThrown(thrown);
    } catch (error) {
      this.couldNotEnd(error);
    }
  }

  private couldNotEnd(error: unknown): void {
    this._diag.error('A span could not be ended', error);
  }

  /** The client fills the metadata or headers of each call here; the trace context is added to them. */
  private injecting(
    original: AnyFunction,
    databaseOf: (client: unknown) => string | undefined = () => undefined,
  ): AnyFunction {
    const instrumentation = this;
    return {
      injecting(this: unknown, ...args: unknown[]) {
        const filled = original.apply(this, args);
        try {
          // metadataListener gets the metadata and returns it; the getter of headers creates them.
          if (instrumentation.isEnabled()) {
            const active = context.active();
            operationIn(active)?.inject((args[0] ?? filled) as Carrier, active, databaseOf(this));
          }
        } catch (error) {
          instrumentation._diag.error('The trace context could not be sent', error);
        }
        return filled;
      },
    }.injecting;
  }

  /** Every RPC except the heartbeat is called by promisify. An RPC outside any operation gets a span. */
  private patchFunctions(exports: object): void {
    this.replace(exports, 'promisify', (original) => {
      const instrumentation = this;
      return function (this: unknown, ...args) {
        if (!instrumentation.isEnabled()) return original.apply(this, args);
        const active = context.active();
        const operation = operationIn(active);
        if (operation !== undefined)
          return instrumentation.runRpc(operation, rpcName(args[1]), original, this, args);
        if (isTracingSuppressed(active)) return original.apply(this, args);
        const rpc = rpcName(args[1]);
        const method = rpc.charAt(0).toLowerCase() + rpc.slice(1);
        const target = { method, operation: {}, readClient: readGrpcClient, original };
        return instrumentation.run(target, active, undefined, args[2], this, args);
      };
    });
  }

  /**
   * One RPC of an operation: its answer is stored for the operation, and it has a span when `rpcSpans` is on.
   */
  private runRpc(
    operation: OperationSpan,
    rpc: string,
    original: AnyFunction,
    self: unknown,
    args: unknown[],
  ): unknown {
    operation.rpcSent(args[2]);
    this.metrics?.usesPool(args[0], operation.server);
    const child = this.getConfig().rpcSpans === true ? operation.startRpc(this.tracer, rpc) : undefined;
    const answer =
      child === undefined ? original.apply(self, args) : context.with(child.context, original, self, ...args);
    // A second branch of the promise: the SDK's own await handles a rejection.
    answer.then(
      (response: unknown) => {
        try {
          operation.rpcAnswered(response);
          if (child !== undefined) endRpcAnswered(child.span, response, operation);
        } catch (error) {
          this.couldNotEnd(error);
        }
      },
      (error: unknown) => {
        try {
          operation.rpcRejected(error);
          if (child !== undefined) endRpcRejected(child.span, error, operation);
        } catch (thrown) {
          this.couldNotEnd(thrown);
        }
      },
    );
    return answer;
  }

  private patchGrpc(exports: object): void {
    // The interceptor calls nextCall again for each retry.
    this.replace(exports, 'getRetryInterceptor', (original) => (options) => {
      const interceptor = original(options);
      return (callOptions: unknown, nextCall: AnyFunction) => {
        let attempts = 0;
        return interceptor(callOptions, (nextOptions: unknown) => {
          if (attempts++ > 0) operationIn(context.active())?.rpcRetried();
          return nextCall(nextOptions);
        });
      };
    });
    // Operations have spans, so Milvus' methods do not need gRPC's instrumentation. It wraps them, and the
    // request methods in the class that all services share: both are restored for this service.
    this.replace(exports, 'getGRPCService', (original) => (...args) => {
      const service = original(...args);
      const { prototype } = service;
      for (const method of [...Object.keys(prototype), ...GRPC_REQUESTS]) {
        const unwrapped = prototype[method]?.__original;
        if (typeof unwrapped === 'function') prototype[method] = unwrapped;
      }
      return service;
    });
  }

  /**
   * The SDK writes several lines to its own logger for each call, and the logger's level drops them.
   * instrumentation-winston would add trace ids to each of them first.
   */
  private quietLogger({ logger }: { logger?: Record<string, any> }): void {
    for (const method of ['write', 'configure']) {
      const unwrapped = logger?.[method]?.__original;
      if (logger === undefined || typeof unwrapped !== 'function') continue;
      logger[method] = unwrapped;
      this.undo.push(() => Reflect.deleteProperty(logger, method));
    }
  }

  /** Timers that this method starts belong to no request and create no spans. */
  private runInBackground(prototype: object | undefined, method: string): void {
    if (prototype === undefined) return;
    this.replace(prototype, method, (original) => {
      const instrumentation = this;
      return {
        inBackground(this: unknown, ...args: unknown[]) {
          if (!instrumentation.isEnabled()) return original.apply(this, args);
          return context.with(suppressTracing(ROOT_CONTEXT), original, this, ...args);
        },
      }.inBackground;
    });
  }

  /** Replaces an own function of `holder`; keeps its visible properties (enumerable, name, length). */
  private replace(holder: object, name: string, wrap: Wrapper): void {
    const descriptor = Object.getOwnPropertyDescriptor(holder, name);
    const original = descriptor?.value;
    if (descriptor === undefined || typeof original !== 'function' || !descriptor.writable) return;
    if (this.wrappers.has(original)) return;
    const wrapped = wrap(original);
    this.wrappers.add(wrapped);
    Object.defineProperty(wrapped, 'name', { value: original.name, configurable: true });
    Object.defineProperty(wrapped, 'length', { value: original.length, configurable: true });
    Object.defineProperty(holder, name, { ...descriptor, value: wrapped });
    this.undo.push(() => {
      // Other code may have wrapped it later; then this wrapper stays below and passes calls through.
      if ((holder as Record<string, unknown>)[name] === wrapped)
        Object.defineProperty(holder, name, descriptor);
    });
  }

  private restore(): void {
    for (const undo of this.undo.splice(0).reverse()) undo();
  }
}

/** Older SDKs do not export HttpBaseClient: it is the last class of the chain. */
function baseOf(prototype: object | null): object | null {
  let base = prototype;
  while (base !== null) {
    const next: object | null = Object.getPrototypeOf(base);
    if (next === null || next === Object.prototype) return base;
    base = next;
  }
  return null;
}

function endRpcAnswered(span: Span, response: unknown, operation: OperationSpan): void {
  if (isUnimplemented(response)) endRpc(span, UNIMPLEMENTED, operation.describe(''));
  else span.setAttribute(ATTR_RPC_STATUS_CODE, grpcStatusName(0)).end();
}

function endRpcRejected(span: Span, error: unknown, operation: OperationSpan): void {
  const { code, details } = (error ?? {}) as { code?: unknown; details?: unknown };
  endRpc(span, code, operation.describe(String(details ?? '')));
}

function endRpc(span: Span, code: unknown, description: string): void {
  if (typeof code === 'number') {
    const name = grpcStatusName(code);
    span.setAttributes({ [ATTR_RPC_STATUS_CODE]: name, [ATTR_ERROR_TYPE]: name });
  }
  span.setStatus({ code: SpanStatusCode.ERROR, message: description }).end();
}

/**
 * Frames between an app's call and the SDK's method: the wrapper, run, and three of the context.
 * Reflect.apply makes none.
 */
const OWN_FRAMES = 5;

/**
 * Frames of the preload must not push the app's line out of the stack of an error that a method throws
 * synchronously. Returns the limit to restore; undefined when it was not changed.
 */
function raiseStackTraceLimit(): number | undefined {
  const limit = Error.stackTraceLimit;
  if (typeof limit !== 'number' || !(limit > 0)) return undefined;
  try {
    Error.stackTraceLimit = limit + OWN_FRAMES;
  } catch {
    // Frozen intrinsics: outside strict mode, the assignment fails silently.
  }
  return Error.stackTraceLimit === limit + OWN_FRAMES ? limit : undefined;
}

/** An app that calls promisify itself may pass any value, and String() throws for some. */
const rpcName = (target: unknown): string => (typeof target === 'string' && target !== '' ? target : 'rpc');
