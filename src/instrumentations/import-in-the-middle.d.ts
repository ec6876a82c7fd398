declare module 'import-in-the-middle/supports-sync-hooks.mjs' {
  /** Whether this Node can run the ESM hooks in the app's thread. */
  export function supportsSyncHooks(): boolean;
}
