// deploy/kubernetes: each manifest keeps to the schema, they fit together, and they fit cairnd.
//
//     node manifests_test.js CAIRND
'use strict';

const assert = require('assert');
const {execFileSync, spawnSync} = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const {test} = require('node:test');
const YAML = require('yaml');

const {documentsOf, problemsOf} = require('./schema.js');

const cairnd = process.argv[2];
const tree = path.join(__dirname, '../../..');
const kubernetes = path.join(tree, 'deploy/kubernetes');
const folders = fs.readdirSync(kubernetes);

const yamlFiles = (folder) => fs.readdirSync(path.join(kubernetes, folder)).filter((f) => f.endsWith('.yaml'));
const kustomization = (folder) => documentsOf(path.join(kubernetes, folder, 'kustomization.yaml'))[0];
const objectsOf = (folder) => yamlFiles(folder).filter((f) => f !== 'kustomization.yaml')
  .flatMap((f) => documentsOf(path.join(kubernetes, folder, f)));
const one = (objects, kind) => {
  const found = objects.filter((o) => o.kind === kind);
  assert.strictEqual(found.length, 1, `${found.length} objects of kind ${kind}`);
  return found[0];
};
const base = () => objectsOf('base');
const podOf = (objects) => one(objects, 'Deployment').spec.template;
const cairndOf = (pod) => [...pod.spec.initContainers || [], ...pod.spec.containers]
  .find((c) => c.name === 'cairnd');
// Whether labels have all that a selector asks for.
const matches = (selector, labels) => Object.entries(selector).every(([k, v]) => labels[k] === v);

for (const folder of folders) {
  test(`${folder}: every object keeps to the schema`, () => {
    assert.notDeepStrictEqual(objectsOf(folder), []);
    for (const object of objectsOf(folder)) assert.deepStrictEqual(problemsOf(object), [], object.kind);
  });

  test(`${folder}: kustomization.yaml names every file, and nothing else`, () => {
    const {resources, apiVersion, kind, ...rest} = kustomization(folder);
    assert.match(`${apiVersion} ${kind}`,
      /^kustomize\.config\.k8s\.io\/(v1beta1 Kustomization|v1alpha1 Component)$/);
    assert.deepStrictEqual([...resources, 'kustomization.yaml'].sort(), yamlFiles(folder).sort());
    for (const key of Object.keys(rest)) assert.ok(['namespace', 'images'].includes(key), key);
  });
}

// Components are newer than the kustomize of Debian's kubectl.
for (const folder of folders.filter((f) => kustomization(f).kind === 'Kustomization')) {
  test(`${folder}: kustomize makes valid objects of it`, () => {
    const out = execFileSync('kubectl', ['kustomize', path.join(kubernetes, folder)], {encoding: 'utf8'});
    const objects = YAML.parseAllDocuments(out).map((d) => d.toJS());
    assert.deepStrictEqual(objects.map((o) => o.kind).sort(), objectsOf(folder).map((o) => o.kind).sort());
    for (const object of objects) assert.deepStrictEqual(problemsOf(object), [], object.kind);
    const version = /project\(cairn VERSION (\S+)/.exec(fs.readFileSync(path.join(tree, 'CMakeLists.txt')))[1];
    for (const c of podOf(objects).spec.containers) assert.strictEqual(c.image, `cairn:${version}`);
  });

  test(`${folder}: volumes and what they refer to are there`, () => {
    const objects = objectsOf(folder);
    const {spec} = podOf(objects);
    const volumes = new Map(spec.volumes.map((v) => [v.name, v]));
    for (const container of [...spec.initContainers || [], ...spec.containers]) {
      for (const {name} of container.volumeMounts) assert.ok(volumes.has(name), `${container.name}: ${name}`);
    }
    const names = (kind) => objects.filter((o) => o.kind === kind).map((o) => o.metadata.name);
    for (const {configMap, persistentVolumeClaim: claim} of volumes.values()) {
      if (configMap) assert.ok(names('ConfigMap').includes(configMap.name));
      if (claim) assert.ok(names('PersistentVolumeClaim').includes(claim.claimName));
    }
    const {selector} = one(objects, 'Deployment').spec;
    assert.ok(matches(selector.matchLabels, podOf(objects).metadata.labels));
  });

  test(`${folder}: cairnd accepts its configuration, and has time to stop`, (t) => {
    const objects = objectsOf(folder);
    const files = one(objects, 'ConfigMap').data;
    const work = fs.mkdtempSync(path.join(os.tmpdir(), 'cairn-manifests-'));
    t.after(() => fs.rmSync(work, {recursive: true}));
    const check = (text, shares) => {
      fs.writeFileSync(`${work}/cairnd.yaml`, text.replaceAll('/etc/cairn/', `${work}/`));
      fs.writeFileSync(`${work}/nfs_shares`, shares);
      return spawnSync(cairnd, ['--config', `${work}/cairnd.yaml`, '--check-config'], {encoding: 'utf8'});
    };
    const run = check(files['cairnd.yaml'], files.nfs_shares);
    assert.strictEqual(run.status, 0, run.stderr);
    assert.strictEqual(check(`${files['cairnd.yaml']}\nlog_levle: info\n`, files.nfs_shares).status, 2);

    const grace = YAML.parse(files['cairnd.yaml']).shutdown_grace_seconds || 20;
    assert.ok(podOf(objects).spec.terminationGracePeriodSeconds > grace + 10);
  });

  test(`${folder}: cairnd listens where it is looked for, and keeps what it must`, () => {
    const objects = objectsOf(folder);
    const config = YAML.parse(one(objects, 'ConfigMap').data['cairnd.yaml']);
    const container = cairndOf(podOf(objects));
    const mounts = container.volumeMounts.map((m) => m.mountPath);
    assert.ok(mounts.includes(config.state_path), 'the state is in no volume');
    for (const address of config.listen.filter((a) => a.startsWith('unix:'))) {
      assert.ok(mounts.includes(path.dirname(address.slice('unix:'.length))), address);
    }
    const ports = (container.ports || []).map((p) => p.containerPort);
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'].map((p) => container[p])) {
      if (probe && probe.grpc) {
        assert.ok(ports.includes(probe.grpc.port));
        assert.ok(config.listen.includes(`0.0.0.0:${probe.grpc.port}`));
      }
    }
    assert.ok(container.startupProbe && container.livenessProbe);
  });
}

test('base: the service and the network policy find the pod and its port', () => {
  const {metadata: {labels}} = podOf(base());
  const ports = cairndOf(podOf(base())).ports.map((p) => p.name);
  const service = one(base(), 'Service');
  assert.ok(matches(service.spec.selector, labels));
  for (const {targetPort} of service.spec.ports) assert.ok(ports.includes(targetPort));
  const policy = one(base(), 'NetworkPolicy');
  assert.ok(matches(policy.spec.podSelector.matchLabels, labels));
  for (const rule of policy.spec.ingress) {
    for (const {port} of rule.ports) assert.ok(ports.includes(port));
  }
  const monitor = one(objectsOf('monitoring'), 'ServiceMonitor');
  assert.ok(matches(monitor.spec.selector.matchLabels, service.metadata.labels));
});

test('base: one server at a time, without a privileged container', () => {
  const {spec} = one(base(), 'Deployment');
  assert.strictEqual(spec.replicas, 1);
  assert.strictEqual(spec.strategy.type, 'Recreate');
  const {securityContext} = cairndOf(spec.template);
  assert.ok(!securityContext.privileged);
  assert.deepStrictEqual(securityContext.capabilities.drop, ['ALL']);
});

// The checks themselves: each of these mistakes is found.
const mistakes = {
  'a misspelt field of a container': (d) => { cairndOf(d.spec.template).imagePullPolcy = 'Always'; },
  'a misspelt field of the specification': (d) => { d.spec.replcas = 1; },
  'a misspelt field at the top': (d) => { d.metdata = {}; },
  'a misspelt capability list': (d) => {
    const {securityContext} = cairndOf(d.spec.template);
    securityContext.capabilities = {dropp: ['ALL']};
  },
  'a misspelt field in a list': (d) => { d.spec.template.spec.volumes[0].configMapp = {}; },
  'a misspelt field of a probe': (d) => { cairndOf(d.spec.template).livenessProbe.grpc.prot = 1; },
  'a text for a number': (d) => { d.spec.replicas = 'one'; },
  'a port that is none': (d) => { cairndOf(d.spec.template).ports[0].containerPort = '7411'; },
  'a required field that is missing': (d) => { delete d.spec.selector; },
  'a container without a name': (d) => { delete d.spec.template.spec.containers[0].name; },
  'a kind that is not in the group': (d) => { d.apiVersion = 'apps/v2'; },
  'no kind': (d) => { delete d.kind; },
};
for (const [what, make] of Object.entries(mistakes)) {
  test(`refused: ${what}`, () => {
    const deployment = one(base(), 'Deployment');
    make(deployment);
    assert.notDeepStrictEqual(problemsOf(deployment), []);
  });
}

test('refused: a misspelt field of a monitor', () => {
  const monitor = one(objectsOf('monitoring'), 'ServiceMonitor');
  monitor.spec.endpoints[0].intervall = '1s';
  assert.deepStrictEqual(problemsOf(monitor), ['/spec/endpoints/0/intervall: there is no such field']);
});

test('refused: a key that stands twice', (t) => {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'cairn-manifests-'));
  t.after(() => fs.rmSync(work, {recursive: true}));
  fs.writeFileSync(`${work}/twice.yaml`, 'kind: Service\nkind: Service\n');
  assert.throws(() => documentsOf(`${work}/twice.yaml`));
});
