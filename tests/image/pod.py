#!/usr/bin/env python3
"""What a Deployment's manifest gives one of its containers, in lines that a shell script can read.

    pod.py FOLDER CONTAINER CONFIG-DIRECTORY

FOLDER holds deployment.yaml and configmap.yaml. The files of the ConfigMap are written into
CONFIG-DIRECTORY. Prints:

    user 0                        what it runs as; and `group`
    capabilities sys_admin        what it keeps, "none" if nothing; all others must be dropped
    read-only true                whether its root file system is
    no-new-privileges false
    mount tmpfs /run              emptyDir
    mount state /var/lib/cairn    a claim
    mount config /etc/cairn       the ConfigMap
    mount nfs /shares/pool1       what the kubelet mounts
    probe 7411 the.Service        each gRPC probe; the service may be empty
"""

import os
import sys

import yaml

KINDS = {'emptyDir': 'tmpfs', 'persistentVolumeClaim': 'state', 'configMap': 'config', 'nfs': 'nfs'}


def load(folder, name):
    with open(os.path.join(folder, name), encoding='utf-8') as file:
        return yaml.safe_load(file)


def main():
    folder, name, config = sys.argv[1:]
    spec = load(folder, 'deployment.yaml')['spec']['template']['spec']
    containers = spec.get('initContainers', []) + spec['containers']
    container = next(c for c in containers if c['name'] == name)
    security = {**spec.get('securityContext', {}), **container['securityContext']}
    assert not security.get('privileged'), 'a privileged container has all capabilities'
    capabilities = security['capabilities']
    assert capabilities['drop'] == ['ALL'], 'what is not dropped is given by the container engine'
    print('user', security['runAsUser'])
    print('group', security['runAsGroup'])
    print('capabilities', ','.join(c.lower() for c in capabilities.get('add', [])) or 'none')
    print('read-only', str(security.get('readOnlyRootFilesystem', False)).lower())
    print('no-new-privileges', str(security.get('allowPrivilegeEscalation') is False).lower())
    kinds = {v['name']: KINDS[next(k for k in v if k != 'name')] for v in spec['volumes']}
    for mount in container['volumeMounts']:
        print('mount', kinds[mount['name']], mount['mountPath'])
    for kind in ('startupProbe', 'livenessProbe', 'readinessProbe'):
        probe = container.get(kind, {}).get('grpc')
        if probe:
            print('probe', probe['port'], probe.get('service', ''))
    for path, text in load(folder, 'configmap.yaml')['data'].items():
        with open(os.path.join(config, path), 'w', encoding='utf-8') as file:
            file.write(text)


if __name__ == '__main__':
    main()
