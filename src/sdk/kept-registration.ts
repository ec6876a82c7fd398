/**
 * Keeps the preload registered in OpenTelemetry's API when the app turns the API off (`context.disable()` and
 * the like), as apps do that stop their own SDK, although it was never registered. Otherwise spans have no
 * parents, and Milvus gets no trace context.
 */
import type { ContextManager } from '@opentelemetry/api';
import { registrations } from '../registered-sdk.ts';

/**
 * Every copy of the API turns the context manager off before it removes it: that is noticed here. Up to its
 * next wait, the app may register another SDK, which then stays, and `replaced` is called. `kept` is called
 * when the preload is registered again.
 */
export function keepRegistration(kept: () => void, replaced: () => void): void {
  const { version: _, ...parts } = { ...registrations() };
  const manager = parts.context as ContextManager | undefined;
  if (manager === undefined) return;
  const { disable } = manager;
  let isWaiting = false;
  // It stays on for the requests in progress, unless another one replaces it.
  manager.disable = () => {
    if (!isWaiting) queueMicrotask(restore);
    isWaiting = true;
    return manager;
  };

  function restore(): void {
    isWaiting = false;
    const now = registrations();
    if (now === undefined) return;
    const isReplaced = (['trace', 'context'] as const).some(
      (name) => now[name] !== undefined && now[name] !== parts[name],
    );
    const missing = Object.entries(parts).filter(([name]) => !(name in now));
    if (isReplaced) {
      disable.call(manager);
      replaced();
    } else if (missing.length > 0) {
      for (const [name, part] of missing) Reflect.set(now, name, part);
      kept();
    }
  }
}
