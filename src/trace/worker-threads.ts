/**
 * Spans of worker threads go to the main thread as they end. A thread can be terminated at any moment and
 * runs no code then. The main thread still runs, and sends these spans with its own.
 *
 * A worker keeps its spans in its own queue until the main thread has answered, and when the main thread has
 * another target or protocol.
 */
import type { InstrumentationScope } from '@opentelemetry/core';
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace';
import { type OtlpTarget, targetKey } from '../otlp/target.ts';
import { VERSION } from '../version.ts';
import { type PostedSpan, postedSpan, receivedSpan } from './posted-span.ts';
import type { SpanQueue } from './span-queue.ts';

/** Another version may have another message format. */
const CHANNEL = `milvus-otel ${VERSION}`;

type Message =
  /** A worker requests an answer of the main thread. */
  | { kind: 'who' }
  /** The main thread exports spans to this target. */
  | { kind: 'here'; target: string }
  /** Resource of a thread's spans; posted before the first of them. */
  | { kind: 'resource'; thread: number; attributes: Resource['attributes']; schemaUrl: string | undefined }
  | { kind: 'span'; thread: number; span: PostedSpan }
  /** From the thread: another WINDOW of spans is posted. From the main thread: the window was read. */
  | { kind: 'posted' | 'taken'; thread: number };

const WINDOW = 1_024;
/** Bounds the memory of a busy main thread. */
const MAX_WINDOWS_IN_FLIGHT = 8;

interface Channel {
  onmessage: ((event: { data: unknown }) => void) | null;
  postMessage(message: Message): void;
  unref(): void;
}

/** Loaded when the app loads workers: loading takes milliseconds. */
const threads = () =>
  process.getBuiltinModule('node:worker_threads') as unknown as {
    threadId: number;
    BroadcastChannel: new (name: string) => Channel;
    receiveMessageOnPort(port: Channel): { message: unknown } | undefined;
  };

/** process.abort() is disabled in workers. */
export const inWorker = (): boolean => (process.abort as { disabled?: boolean }).disabled === true;

/** In the main thread: adds the spans of workers to `queue`. */
export class WorkersSpans {
  readonly #queue: SpanQueue;
  readonly #target: () => OtlpTarget;
  /** By thread. */
  readonly #resources = new Map<number, Resource>();
  /** By content: the first copy represents all. An app may start a thread for each of its requests. */
  readonly #knownResources = new Map<string, Resource>();
  readonly #scopes = new Map<string, InstrumentationScope>();
  #channel: Channel | undefined;

  constructor(queue: SpanQueue, target: () => OtlpTarget) {
    this.#queue = queue;
    this.#target = target;
    process.on('worker', () => {
      this.#channel ??= this.#open();
      this.#answer();
    });
  }

  /** Reads messages of workers that the event loop has not delivered yet. */
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
    // Running workers keep the process alive by themselves.
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
      const { thread, attributes, schemaUrl } = message;
      const key = JSON.stringify([attributes, schemaUrl]);
      const known =
        this.#knownResources.get(key) ??
        resourceFromAttributes(attributes, schemaUrl === undefined ? {} : { schemaUrl });
      this.#knownResources.set(key, known);
      this.#resources.set(thread, known);
    } else if (message.kind === 'posted') {
      this.#channel?.postMessage({ kind: 'taken', thread: message.thread });
    } else if (message.kind === 'span') {
      const resource = this.#resources.get(message.thread);
      if (resource === undefined) return;
      const scope = this.#scopeOf(message.span.instrumentationScope);
      this.#queue.onEnd(receivedSpan(message.span, resource, scope));
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
  readonly #queue: SpanQueue;
  readonly #channel: Channel;
  readonly #thread: number;
  readonly #targetKey: string;
  readonly #resource: Resource;
  /** Whether all attributes of the resource are known. */
  #isSettled: boolean;
  /** Whether the main thread exports to the same target. */
  #isAnswered = false;
  #isRelaying = false;
  /** Spans in the current window. */
  #posted = 0;
  #windowsInFlight = 0;

  /** @param resource of all spans */
  constructor(queue: SpanQueue, target: OtlpTarget, resource: Resource) {
    const { BroadcastChannel, threadId } = threads();
    this.#queue = queue;
    this.#thread = threadId;
    this.#targetKey = targetKey(target);
    this.#resource = resource;
    this.#isSettled = !resource.asyncAttributesPending;
    // At once, and not with the first span: the thread may be terminated after it.
    resource.waitForAsyncAttributes?.().then(() => {
      this.#isSettled = true;
      this.#begin();
    });
    this.#channel = new BroadcastChannel(CHANNEL);
    this.#channel.onmessage = ({ data }) => this.#take(data as Message);
    this.#channel.unref();
    this.#channel.postMessage({ kind: 'who' });
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if (!this.#isRelaying) this.#readAnswers();
    if (this.#isRelaying && this.#windowsInFlight < MAX_WINDOWS_IN_FLIGHT) {
      if ((span.spanContext().traceFlags & 1) !== 0) this.#post(span);
    } else this.#queue.onEnd(span);
  }

  forceFlush(): Promise<void> {
    return this.#queue.forceFlush();
  }

  shutdown(): Promise<void> {
    return this.#queue.shutdown();
  }

  /** Those that the event loop has not delivered: a thread that is busy from its start on delivers none. */
  #readAnswers(): void {
    for (;;) {
      const received = threads().receiveMessageOnPort(this.#channel);
      if (received === undefined) return;
      this.#take(received.message as Message);
    }
  }

  #take(message: Message): void {
    if (message.kind === 'taken' && message.thread === this.#thread) this.#windowsInFlight--;
    if (message.kind !== 'here' || message.target !== this.#targetKey) return;
    this.#isAnswered = true;
    this.#begin();
  }

  #begin(): void {
    if (this.#isRelaying || !this.#isAnswered || !this.#isSettled) return;
    const { attributes, schemaUrl } = this.#resource;
    this.#channel.postMessage({ kind: 'resource', thread: this.#thread, attributes, schemaUrl });
    for (const batch of this.#queue.release()) for (const span of batch.spans) this.#post(span);
    this.#isRelaying = true;
  }

  #post(span: ReadableSpan): void {
    try {
      this.#channel.postMessage({ kind: 'span', thread: this.#thread, span: postedSpan(span) });
    } catch {
      // An attribute that cannot be cloned.
      this.#queue.onEnd(span);
      return;
    }
    if (++this.#posted < WINDOW) return;
    this.#posted = 0;
    this.#windowsInFlight++;
    this.#channel.postMessage({ kind: 'posted', thread: this.#thread });
  }
}
