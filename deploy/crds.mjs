// Validates objects of kinds that are not part of Kubernetes, by the schemas of their CRDs: a list of objects, as JSON on
// standard input. Prints a line for each fault and each object of another kind; exit status 1 if there is one. `make tools`
// brings the schemas from npm.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "argoproj.io/v1alpha1": "argo-cd",
  "cert-manager.io/v1": "cert-manager",
  "cilium.io/v2": "cilium",
  "external-secrets.io/v1": "external-secrets",
  "gateway.networking.k8s.io/v1": "gateway-api",
  "helm.toolkit.fluxcd.io/v2": "flux-cd",
  "keda.sh/v1alpha1": "keda",
  "monitoring.coreos.com/v1": "prometheus-operator",
  "networking.istio.io/v1": "istio",
  "security.istio.io/v1": "istio",
  "source.toolkit.fluxcd.io/v1": "flux-cd",
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
