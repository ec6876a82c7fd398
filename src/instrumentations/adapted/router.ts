/**
 * Express 5 has its router as a package, which has its own instrumentation. Here it creates no span for a
 * layer that already has one of Express' instrumentation.
 */
import { type InstrumentationNodeModuleDefinition, isWrapped } from '@opentelemetry/instrumentation';
import { RouterInstrumentation } from '@opentelemetry/instrumentation-router';

/** Source: lib/layer.js of router 2. */
interface Layer {
  handle: HandleRequest;
  /** Undefined in middleware; absent in the handlers of a route, which is a layer itself. */
  route?: object;
}
type HandleRequest = (this: Layer, ...args: unknown[]) => unknown;

export class Instrumentation extends RouterInstrumentation {
  override init(): InstrumentationNodeModuleDefinition {
    const definition = super.init() as InstrumentationNodeModuleDefinition;
    for (const file of definition.files) {
      const { patch } = file;
      file.patch = (exports, version) => {
        const patched = patch(exports, version);
        const { prototype } = patched as { prototype: { handleRequest: HandleRequest } };
        const { handleRequest: traced } = prototype;
        if (isWrapped(traced))
          this._wrap(prototype, 'handleRequest', (original) => exceptOfExpress(traced, original));
        return patched;
      };
    }
    return definition;
  }
}

function exceptOfExpress(traced: HandleRequest, original: HandleRequest): HandleRequest {
  /** Whether layers of this copy of the router are Express'. */
  let isOfExpress = false;
  return function (this: Layer, ...args) {
    // Express' instrumentation wraps what a layer calls: middleware, or a route as a whole.
    const isOuter = 'route' in this;
    const isTraced = isOuter ? isWrapped(this.handle) : isOfExpress;
    if (isOuter && isTraced) isOfExpress = true;
    return (isTraced ? original : traced).apply(this, args);
  };
}
