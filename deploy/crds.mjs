// Judges objects of kinds that are no part of Kubernetes by their CRDs' schemas: JSON on standard input, a list of objects.
// Prints a line for each fault and each object of another kind; exit status 1 where there is one. By `make tools`, from npm.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "monitoring.coreos.com/v1": "prometheus-operator",
  "gateway.networking.k8s.io/v1": "gateway-api",
};

function moduleOf(apiVersion, kind) {
  const stem = join(process.cwd(), ".tools/crds/node_modules/@kubernetes-models", PACKAGES[apiVersion] ?? "-", apiVersion, kind);
  return pathToFileURL(existsSync(`${stem}.mjs`) ? `${stem}.mjs` : `${stem}.js`);
}

let faults = 0;
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const { apiVersion, kind, metadata } = object;
  try {
    const models = await import(moduleOf(apiVersion, kind));
    new models[kind](object).validate();
  } catch (error) {
    faults += 1;
    console.log(`${kind} ${metadata.name}: ${error.message.split("\n")[0]}`);
  }
}
process.exit(faults ? 1 : 0);
