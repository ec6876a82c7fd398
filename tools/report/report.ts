/** The report of traces: one HTML file with inlined data, script and styles. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'rolldown';
import { escaped } from '../pictures/svg.ts';
import type { ReportData } from './report-data.ts';

const here = import.meta.dirname;
const waterfallStyle = path.join(here, '..', 'pictures', 'waterfall.css');

/** Returns a function that renders a report; script and styles are read once. */
export async function reportTemplate(): Promise<(data: ReportData) => string> {
  const [script, ...styles] = await Promise.all([
    pageScript(),
    readFile(waterfallStyle, 'utf8'),
    readFile(path.join(here, 'page', 'page.css'), 'utf8'),
  ]);
  const style = styles.join('\n');
  // Nothing else loads or runs, whatever a span's name contains.
  const policy = [
    "default-src 'none'",
    `script-src '${hash(script)}'`,
    `style-src '${hash(style)}'`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  return (data) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${escaped(data.command)}: traces</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<main id="page"><p>This report needs JavaScript.</p></main>
<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>
<script>${script}</script>
</body>
</html>
`;
}

/** The page's script with its imports. */
async function pageScript(): Promise<string> {
  const { output } = await build({
    input: path.join(here, 'page', 'page.ts'),
    output: { format: 'iife', minify: true },
    platform: 'browser',
    write: false,
    logLevel: 'warn',
  });
  // A script ends at its first closing tag.
  return output[0].code.trim().replaceAll('</', '<\\/');
}

function hash(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
