/** Patches of @zilliz/milvus2-sdk-node, and nothing else: what a span says is in operation-span.ts. */
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import { isTracingSuppressed, suppressTracing } from '@opentelemetry/core';
import {
  InstrumentationBase,
  type InstrumentationConfig,
  InstrumentationNodeModuleDefinition,
  InstrumentationNodeModuleFile,
} from '@opentelemetry/instrumentation';
import { VERSION } from '../version.ts';
import { activeOperation, type ClientParts, type GrpcMetadata, OperationSpan } from './operation-span.ts';
import { OPERATIONS, type Operation } from './operations.ts';

export interface MilvusInstrumentationConfig extends InstrumentationConfig {
  /** Put the filter expression into `db.query.text`. It may hold user data. Default false. */
  captureFilter?: boolean;
  /** A child span for each RPC of an operation. Default false. */
  rpcSpans?: boolean;
}

const SDK = '@zilliz/milvus2-sdk-node';
/** 2.2.24 is the first with the file layout that is patched here; upper bound: nothing newer is known. */
const SUPPORTED_VERSIONS = ['>=2.2.24 <4'];

type AnyFunction = (this: any, ...args: any[]) => any;
type Wrapper = (original: AnyFunction) => AnyFunction;

export class MilvusInstrumentation extends InstrumentationBase<MilvusInstrumentationConfig> {
  // Declared only: the base constructor calls init() and enable() before an initialiser here would run.
  declare private undo: (() => void)[];

  constructor(config: MilvusInstrumentationConfig = {}) {
    super('milvus-otel', VERSION, config);
  }

  protected override init(): InstrumentationNodeModuleDefinition[] {
    this.undo = [];
    const file = (path: string, patch: (exports: any) => void) =>
      new InstrumentationNodeModuleFile(
        `${SDK}/dist/milvus/${path}`,
        SUPPORTED_VERSIONS,
        (exports) => {
          try {
            patch.call(this, exports);
          } catch (error) {
            this._diag.error(`${SDK}/dist/milvus/${path} could not be patched`, error);
          }
          return exports;
        },
        () => this.restore(),
      );
    return [
      new InstrumentationNodeModuleDefinition(SDK, SUPPORTED_VERSIONS, undefined, undefined, [
        // Before a client exists: constructors copy methods and exports, later patches reach no client.
        file('MilvusClient.js', this.patchClient),
        file('utils/Function.js', this.patchFunctions),
        file('utils/Grpc.js', this.patchGrpc),
        file('utils/GlobalTopology.js', ({ TopologyRefresher }) =>
          this.runInBackground(TopologyRefresher?.prototype, 'start'),
        ),
        file('telemetry/ClientTelemetry.js', ({ ClientTelemetryManager }) =>
          this.runInBackground(ClientTelemetryManager?.prototype, 'start'),
        ),
      ]),
    ];
  }

  /** Every method of the client's class chain that the table knows, and the hook that writes gRPC metadata. */
  private patchClient({ MilvusClient }: { MilvusClient?: { prototype: object } }): void {
    let prototype: object | null = MilvusClient?.prototype ?? null;
    while (prototype !== null && prototype !== Object.prototype) {
      for (const method of Object.getOwnPropertyNames(prototype)) {
        const operation = Object.hasOwn(OPERATIONS, method) ? OPERATIONS[method] : undefined;
        if (operation !== undefined)
          this.replace(prototype, method, (original) => this.traced(method, operation, original));
      }
      this.replace(prototype, 'metadataListener', (original) => this.injecting(original));
      prototype = Object.getPrototypeOf(prototype);
    }
  }

  private traced(method: string, operation: Operation, original: AnyFunction): AnyFunction {
    const instrumentation = this;
    return function (this: ClientParts, ...args) {
      const active = context.active();
      // Public methods call public methods: what runs inside an operation is part of it.
      if (!instrumentation.isEnabled() || activeOperation() !== undefined || isTracingSuppressed(active)) {
        return original.apply(this, args);
      }
      return instrumentation.run(
        () =>
          new OperationSpan(
            instrumentation.tracer,
            method,
            operation,
            this,
            args[0],
            instrumentation.getConfig().captureFilter === true,
          ),
        original,
        this,
        args,
      );
    };
  }

  /** Runs `original` under a new span, and gives back what it gives: same value, same error, sync or async. */
  private run(
    startSpan: () => OperationSpan,
    original: AnyFunction,
    self: unknown,
    args: unknown[],
  ): unknown {
    let operation: OperationSpan;
    try {
      operation = startSpan();
    } catch (error) {
      this._diag.error('A span could not be started', error);
      return original.apply(self, args);
    }
    let result: any;
    try {
      result = context.with(operation.innerContext(), original, self, ...args);
    } catch (thrown) {
      this.finish(() => operation.endThrown(thrown));
      throw thrown;
    }
    if (typeof result?.then !== 'function') {
      this.finish(() => operation.end(result));
      return result;
    }
    // The derived promise is what the app gets: a rejection that it does not handle stays unhandled.
    return result.then(
      (value: unknown) => {
        this.finish(() => operation.end(value));
        return value;
      },
      (thrown: unknown) => {
        this.finish(() => operation.endThrown(thrown));
        throw thrown;
      },
    );
  }

  private finish(end: () => void): void {
    try {
      end();
    } catch (error) {
      this._diag.error('A span could not be ended', error);
    }
  }

  /** The client writes its own metadata onto each call here; the trace context goes beside it. */
  private injecting(original: AnyFunction): AnyFunction {
    const instrumentation = this;
    return function (this: unknown, metadata: GrpcMetadata) {
      const written = original.call(this, metadata);
      try {
        if (instrumentation.isEnabled()) activeOperation()?.inject(metadata);
      } catch (error) {
        instrumentation._diag.error('The trace context could not be sent', error);
      }
      return written;
    };
  }

  /** Every RPC but the heartbeat passes promisify. One outside any operation gets a span of its own. */
  private patchFunctions(exports: object): void {
    this.replace(exports, 'promisify', (original) => {
      const instrumentation = this;
      return function (this: unknown, ...args) {
        if (!instrumentation.isEnabled()) return original.apply(this, args);
        const operation = activeOperation();
        if (operation !== undefined) {
          const answer = original.apply(this, args);
          // A branch beside the SDK's own await, which handles a rejection.
          answer.then(
            (response: unknown) => operation.rpcAnswered(response),
            () => {},
          );
          return answer;
        }
        if (isTracingSuppressed(context.active())) return original.apply(this, args);
        const rpc = String(args[1]);
        const name = rpc.charAt(0).toLowerCase() + rpc.slice(1);
        return instrumentation.run(
          () => new OperationSpan(instrumentation.tracer, name, {}, undefined, args[2], false),
          original,
          this,
          args,
        );
      };
    });
  }

  private patchGrpc(exports: object): void {
    // The interceptor calls nextCall again for each retry.
    this.replace(exports, 'getRetryInterceptor', (original) => (options) => {
      const interceptor = original(options);
      return (callOptions: unknown, nextCall: AnyFunction) => {
        const operation = activeOperation();
        if (operation === undefined) return interceptor(callOptions, nextCall);
        let attempts = 0;
        return interceptor(callOptions, (nextOptions: unknown) => {
          if (attempts++ > 0) operation.rpcRetried();
          return nextCall(nextOptions);
        });
      };
    });
    // Operations have spans of their own, so gRPC's instrumentation has nothing to do on Milvus' methods.
    this.replace(exports, 'getGRPCService', (original) => (...args) => {
      const service = original(...args);
      for (const method of Object.keys(service.prototype)) {
        const unwrapped = service.prototype[method]?.__original;
        if (typeof unwrapped === 'function') service.prototype[method] = unwrapped;
      }
      return service;
    });
  }

  /** Timers that this method starts belong to nobody's request and make no spans. */
  private runInBackground(prototype: object | undefined, method: string): void {
    if (prototype === undefined) return;
    this.replace(prototype, method, (original) => {
      const instrumentation = this;
      return function (this: unknown, ...args) {
        if (!instrumentation.isEnabled()) return original.apply(this, args);
        return context.with(suppressTracing(ROOT_CONTEXT), original, this, ...args);
      };
    });
  }

  /** Replaces a function that `holder` has itself; keeps how it is seen (enumerable, name, length). */
  private replace(holder: object, name: string, wrap: Wrapper): void {
    const descriptor = Object.getOwnPropertyDescriptor(holder, name);
    const original = descriptor?.value;
    if (descriptor === undefined || typeof original !== 'function' || !descriptor.writable) return;
    const wrapped = wrap(original);
    Object.defineProperty(wrapped, 'name', { value: original.name, configurable: true });
    Object.defineProperty(wrapped, 'length', { value: original.length, configurable: true });
    Object.defineProperty(holder, name, { ...descriptor, value: wrapped });
    this.undo.push(() => {
      // Somebody may have wrapped it after us; then ours stays below and passes everything through.
      if ((holder as Record<string, unknown>)[name] === wrapped)
        Object.defineProperty(holder, name, descriptor);
    });
  }

  private restore(): void {
    for (const undo of this.undo.splice(0).reverse()) undo();
  }
}
