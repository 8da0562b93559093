// Reads a list of objects, as JSON, and prints a line for each that its operator's published schema refuses.

import { readFileSync } from "node:fs";

const PACKAGES = {
  "gateway.networking.k8s.io": "gateway-api",
  "monitoring.coreos.com": "prometheus-operator",
  "keda.sh": "keda",
  "external-secrets.io": "external-secrets",
  "cert-manager.io": "cert-manager",
};

for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const [group, version] = object.apiVersion.split("/");
  const fault = await faultOf(object, group, version);
  if (fault) console.log(`${object.apiVersion} ${object.kind} ${object.metadata.name}: ${fault}`);
}

async function faultOf(object, group, version) {
  const name = PACKAGES[group];
  if (!name) return "no package has this group";
  const path = `@kubernetes-models/${name}/${group}/${version}/${object.kind}`;
  try {
    const { [object.kind]: Model } = await import(path);
    new Model(object).validate();
  } catch (error) {
    return error.message.replaceAll("\n", " ");
  }
}
