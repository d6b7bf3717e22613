// Checks Kubernetes manifests without a cluster: against validators that were made from Kubernetes' own
// OpenAPI schema (npm: kubernetes-models), and as strictly as `kubectl --validate=strict`: a field that the
// schema does not have is a mistake.
'use strict';

const fs = require('fs');
const YAML = require('yaml');

// The model of apiVersion and kind, or undefined.
function modelOf(apiVersion, kind) {
  const root = apiVersion.startsWith('monitoring.coreos.com/')
    ? '@kubernetes-models/prometheus-operator' : 'kubernetes-models';
  try {
    return require(`${root}/${apiVersion}`)[kind];
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_PACKAGE_PATH_NOT_EXPORTED') return undefined;
    throw error;
  }
}

// The validators let pass what they do not know, but they look at every field that they do know. So what
// nobody looked at is unknown. `seen` collects the paths that were looked at.
function watched(value, path, seen) {
  if (value === null || typeof value !== 'object') return value;
  return new Proxy(value, {
    get(target, key) {
      if (typeof key !== 'string' || !Object.hasOwn(target, key)) return target[key];
      const below = `${path}/${key}`;
      seen.add(below);
      return watched(target[key], below, seen);
    },
  });
}

function* unknownFields(value, path, seen) {
  if (value === null || typeof value !== 'object') return;
  for (const [key, item] of Object.entries(value)) {
    const below = `${path}/${key}`;
    if (seen.has(below)) {
      yield* unknownFields(item, below, seen);
    } else {
      yield below;
    }
  }
}

// What is wrong with an object, as texts; empty when nothing is.
function problemsOf(object) {
  if (!object || !object.apiVersion || !object.kind) return ['apiVersion and kind: missing'];
  const model = modelOf(object.apiVersion, object.kind);
  if (!model) return [`there is no ${object.kind} in ${object.apiVersion}`];
  const seen = new Set();
  const problems = [];
  try {
    model.prototype.validate.call(watched(object, '', seen));
  } catch (error) {
    problems.push(error.message);
  }
  for (const path of unknownFields(object, '', seen)) problems.push(`${path}: there is no such field`);
  return problems;
}

// The documents of a file. Throws for what is no YAML, or has a key twice.
function documentsOf(path) {
  return YAML.parseAllDocuments(fs.readFileSync(path, 'utf8'), {uniqueKeys: true}).map((document) => {
    if (document.errors.length) throw document.errors[0];
    return document.toJS();
  });
}

module.exports = {documentsOf, problemsOf};
