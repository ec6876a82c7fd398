/** The commands in the shell fences of Markdown pages. */
import { spawnSync } from 'node:child_process';

/** The place to run a command, from the comments of its fence: by default the user's app. */
export type Place = 'app' | 'repository' | 'copied sample';

export interface DocumentedCommand {
  /** The page, from the root of the repository. */
  page: string;
  /** Number of its first line, from 1. */
  line: number;
  /** The shell command, which may have several lines; without the comment after it. */
  text: string;
  place: Place;
  /** Its output on the page: the comment lines below it that begin with `milvus-otel: `. */
  prints: string[];
}

/** Pages whose commands test/docs/deployments.test.ts runs; test/docs/commands.test.ts runs the others. */
export const deploymentPages = [
  'docs/deployments.md',
  'docs/production.md',
  'compose/production/README.md',
  ...['cluster', 'image-layer', 'kubernetes', 'operator', 'pm2', 'systemd'].map(
    (sample) => `samples/${sample}/README.md`,
  ),
];

const fence = /^ *```(\w*)/;
const shellNames = ['sh', 'bash', 'shell', 'console'];
const places: [comment: RegExp, place: Place][] = [
  [/in the root of the repository/, 'repository'],
  [/copied out of it/, 'copied sample'],
];

/** Fails, naming the line, for a fence that is not a shell script. */
export function documentedCommands(page: string, markdown: string): DocumentedCommand[] {
  const commands: DocumentedCommand[] = [];
  let inShell = false;
  let inOther = false;
  let place: Place = 'app';
  let pending = '';
  let startLine = 0;

  for (const [index, line] of markdown.split('\n').entries()) {
    const opened = fence.exec(line);
    if (opened !== null) {
      if (inShell && pending !== '')
        throw new Error(`${page}:${startLine}: no complete shell command: ${pending.trim()}`);
      const isEnd: boolean = inShell || inOther;
      inShell = !isEnd && shellNames.includes(opened[1] ?? '');
      inOther = !isEnd && !inShell;
      place = 'app';
      continue;
    }
    if (!inShell) continue;
    if (pending === '') {
      if (line.trim() === '') continue;
      if (/^\s*#/.test(line)) {
        place = places.find(([comment]) => comment.test(line))?.[1] ?? place;
        const [, printed] = /^\s*# (milvus-otel: .*)$/.exec(line) ?? [];
        if (printed !== undefined) commands.at(-1)?.prints.push(printed);
        continue;
      }
      startLine = index + 1;
    }
    pending += `${line}\n`;
    if (!isComplete(pending)) continue;
    const text = withoutComment(pending.trim());
    commands.push({ page, line: startLine, text, place, prints: [] });
    pending = '';
  }
  return commands;
}

/** Whether a shell would run it now rather than wait for more. */
function isComplete(script: string): boolean {
  if (/\\\n$/.test(script)) return false;
  const [, , delimiter] = /<<-?\s*(['"]?)(\w+)\1/.exec(script) ?? [];
  if (delimiter !== undefined && !new RegExp(`\\n\\t*${delimiter}\\n$`).test(script)) return false;
  return isShell(script);
}

/** Only parses it. */
export function isShell(script: string): boolean {
  return spawnSync('sh', ['-n', '-c', script]).status === 0;
}

/** Without the comment after the last line; not a # in quotes or inside a word. */
function withoutComment(text: string): string {
  let quote = '';
  for (const [index, character] of Array.from(text).entries()) {
    if (quote !== '') {
      if (character === quote) quote = '';
    } else if (character === "'" || character === '"') {
      quote = character;
    } else if (character === '#' && /\s/.test(text[index - 1] ?? '')) {
      return text.slice(0, index).trimEnd();
    }
  }
  return text;
}
