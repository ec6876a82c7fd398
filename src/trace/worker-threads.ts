/**
 * Spans of worker threads go to the main thread as they end. A thread can be terminated, or end with its process, at any
 * moment, and nothing of it runs then; the main thread still does, and sends them with its own.
 *
 * Until the main thread has answered, and where it sends elsewhere or in another way, a worker's spans stay in a queue
 * of its own.
 */
import type { InstrumentationScope } from '@opentelemetry/core';
import type { Resource } from '@opentelemetry/resources';
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace';
import { type OtlpTarget, targetKey } from '../otlp/target.ts';
import { VERSION } from '../version.ts';
import { type EncodedPart, EncodedSpans } from './encoded-spans.ts';
import type { SettledResource } from './span-encoding.ts';
import type { SpanQueue } from './span-queue.ts';

/** Another version may say it in another way. */
const CHANNEL = `milvus-otel ${VERSION}`;

type Message =
  /** A worker asks who is there. */
  | { kind: 'who' }
  /** The main thread takes spans for this target. */
  | { kind: 'here'; target: string }
  /** What the spans of a thread come from; before the first of them. */
  | { kind: 'resource'; thread: number; attributes: Resource['attributes']; schemaUrl: string | undefined }
  | { kind: 'spans'; thread: number; parts: EncodedPart[] }
  /** The thread has posted another WINDOW of spans; and the main thread has come so far. */
  | { kind: 'posted' | 'taken'; thread: number };

const WINDOW = 1_024;
/** Windows that may be on their way: a main thread that is busy for long must not be filled without end. */
const MAX_WINDOWS = 8;

interface Channel {
  onmessage: ((event: { data: unknown }) => void) | null;
  postMessage(message: Message): void;
  unref(): void;
}

/** Loaded when there are workers: it takes milliseconds. */
const threads = () =>
  process.getBuiltinModule('node:worker_threads') as unknown as {
    threadId: number;
    BroadcastChannel: new (name: string) => Channel;
    receiveMessageOnPort(port: Channel): { message: unknown } | undefined;
  };

/** Workers cannot abort the process. */
export const inWorker = (): boolean => (process.abort as { disabled?: boolean }).disabled === true;

/** In the main thread: takes the spans of workers into `queue`. */
export class WorkersSpans {
  readonly #queue: SpanQueue<EncodedSpans>;
  readonly #target: () => OtlpTarget;
  readonly #resources = new Map<number, SettledResource>();
  /** By what they say: of each thread's copies, the first stands for all. */
  readonly #scopes = new Map<string, InstrumentationScope>();
  #channel: Channel | undefined;

  constructor(queue: SpanQueue<EncodedSpans>, target: () => OtlpTarget) {
    this.#queue = queue;
    this.#target = target;
    process.on('worker', () => {
      this.#channel ??= this.#open();
      this.#answer();
    });
  }

  /** Takes what workers have posted and the event loop has not yet brought. */
  drain(): void {
    if (this.#channel === undefined) return;
    const { receiveMessageOnPort } = threads();
    for (;;) {
      const received = receiveMessageOnPort(this.#channel);
      if (received === undefined) return;
      this.#take(received.message as Message);
    }
  }

  #open(): Channel {
    const channel = new (threads().BroadcastChannel)(CHANNEL);
    channel.onmessage = ({ data }) => this.#take(data as Message);
    // Workers that are there keep the process alive by themselves.
    channel.unref();
    return channel;
  }

  #answer(): void {
    this.#channel?.postMessage({ kind: 'here', target: targetKey(this.#target()) });
  }

  #take(message: Message): void {
    if (message.kind === 'who') {
      this.#answer();
    } else if (message.kind === 'resource') {
      this.#resources.set(message.thread, message);
    } else if (message.kind === 'posted') {
      this.#channel?.postMessage({ kind: 'taken', thread: message.thread });
    } else if (message.kind === 'spans') {
      const resource = this.#resources.get(message.thread);
      if (resource === undefined) return;
      for (const part of message.parts) {
        const scope = this.#scopeOf(part.scope);
        this.#queue.addMany(part.count, (batch) => batch.addPart(resource, scope, part));
      }
    }
  }

  #scopeOf(scope: InstrumentationScope): InstrumentationScope {
    const key = JSON.stringify([scope.name, scope.version, scope.schemaUrl]);
    const known = this.#scopes.get(key) ?? scope;
    this.#scopes.set(key, known);
    return known;
  }
}

/** In a worker: the span processor before its queue. */
export class SpansToMain implements SpanProcessor {
  readonly #queue: SpanQueue<EncodedSpans>;
  readonly #channel: Channel;
  readonly #thread: number;
  #resource: Resource | undefined;
  #state: 'alone' | 'answered' | 'settling' | 'relaying' = 'alone';
  /** In the present window. */
  #posted = 0;
  #windowsOnTheWay = 0;

  constructor(queue: SpanQueue<EncodedSpans>, target: OtlpTarget) {
    const { BroadcastChannel, threadId } = threads();
    this.#queue = queue;
    this.#thread = threadId;
    this.#channel = new BroadcastChannel(CHANNEL);
    this.#channel.onmessage = ({ data }) => {
      const message = data as Message;
      if (message.kind === 'taken' && message.thread === this.#thread) this.#windowsOnTheWay--;
      if (this.#state !== 'alone' || message.kind !== 'here' || message.target !== targetKey(target)) return;
      this.#state = 'answered';
      this.#begin();
    };
    this.#channel.unref();
    this.#channel.postMessage({ kind: 'who' });
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if (this.#state === 'relaying' && this.#windowsOnTheWay < MAX_WINDOWS) {
      if ((span.spanContext().traceFlags & 1) === 0) return;
      const batch = new EncodedSpans();
      try {
        batch.add(span);
      } catch {
        // The queue counts what cannot be written.
        this.#queue.onEnd(span);
        return;
      }
      this.#post(batch);
    } else {
      this.#resource = span.resource;
      this.#queue.onEnd(span);
      this.#begin();
    }
  }

  forceFlush(): Promise<void> {
    return this.#queue.forceFlush();
  }

  shutdown(): Promise<void> {
    return this.#queue.shutdown();
  }

  /** Once the main thread is there and the resource is known, which the first span tells. */
  #begin(): void {
    if (this.#state !== 'answered' || this.#resource === undefined) return;
    const resource = this.#resource;
    this.#state = 'settling';
    const relay = () => {
      const { attributes, schemaUrl } = resource;
      this.#channel.postMessage({ kind: 'resource', thread: this.#thread, attributes, schemaUrl });
      for (const batch of this.#queue.release()) this.#post(batch);
      this.#state = 'relaying';
    };
    if (resource.asyncAttributesPending) resource.waitForAsyncAttributes?.().then(relay);
    else relay();
  }

  #post(batch: EncodedSpans): void {
    this.#channel.postMessage({ kind: 'spans', thread: this.#thread, parts: batch.parts() });
    this.#posted += batch.count;
    if (this.#posted < WINDOW) return;
    this.#posted = 0;
    this.#windowsOnTheWay++;
    this.#channel.postMessage({ kind: 'posted', thread: this.#thread });
  }
}
