/** Folders with the files of an app, removed after the test file. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';

/** File → its text; an object is written as JSON. */
export type Files = Record<string, string | object>;

/** Gives the path of a new folder with these files. */
export function appFolder(files: Files): string {
  const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'milvus-otel-unit-')));
  after(() => rmSync(folder, { recursive: true }));
  writeFiles(folder, files);
  return folder;
}

export function writeFiles(folder: string, files: Files): void {
  for (const [file, content] of Object.entries(files)) {
    const at = path.join(folder, file);
    mkdirSync(path.dirname(at), { recursive: true });
    writeFileSync(at, typeof content === 'string' ? content : JSON.stringify(content));
  }
}
