/**
 * In the bundle, this stands for import-in-the-middle, which takes milliseconds to load and has nothing to do before
 * the app imports an ES module that is instrumented. Hooks that are made before wait for it.
 */
type HookArguments = [
  modules: string[],
  options: { internals?: boolean },
  onImport: (...args: never[]) => unknown,
];
type HookClass = new (...args: HookArguments) => object;

const waiting: HookArguments[] = [];
let RealHook: HookClass | undefined;

export class Hook {
  constructor(...args: HookArguments) {
    if (RealHook === undefined) waiting.push(args);
    else new RealHook(...args);
  }
}

/** Hands over to import-in-the-middle's own Hook, now that it is loaded. */
export function startImportHooks(Real: HookClass): void {
  RealHook = Real;
  for (const args of waiting.splice(0)) new Real(...args);
}
