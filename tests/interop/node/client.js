'use strict';
// What a Node program needs to use Cairn: the contract loaded from proto/, promises, and errors with
// their reasons.

const path = require('node:path');

const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const contract = path.join(__dirname, '..', '..', '..', 'proto');
const standard = path.join(__dirname, '..', '..', 'support', 'proto');

const api = grpc.loadPackageDefinition(protoLoader.loadSync(
    ['volume', 'snapshot', 'pool', 'operation'].map((name) => `cairn/v1/${name}_service.proto`)
        .concat('grpc/health/v1/health.proto', 'grpc/reflection/v1alpha/reflection.proto'),
    {includeDirs: [contract, standard], keepCase: true, longs: Number, enums: String, defaults: true,
     oneofs: true}));

const details = new protobuf.Root();
details.resolvePath = (_, target) =>
    target.startsWith('google/protobuf/') ? target : path.join(contract, target);
details.loadSync(['google/rpc/status.proto', 'google/rpc/error_details.proto']);

// An error of a call or of an operation: both carry a google.rpc.Status.
class Refused extends Error {
  constructor(status) {
    super(status.message);
    this.code = grpc.status[status.code];
    for (const {type_url, typeUrl, value} of status.details) {
      const name = (type_url || typeUrl).split('/').pop();
      const message = details.lookupType(name).decode(value);
      if (name === 'google.rpc.ErrorInfo') {
        Object.assign(this, {reason: message.reason, domain: message.domain,
                             metadata: message.metadata});
      } else if (name === 'google.rpc.BadRequest') {
        this.fields = message.fieldViolations.map((violation) => violation.field);
      }
    }
  }

  // What the trailer of a failed call says; the error itself if it says nothing.
  static ofCall(error) {
    const [trailer] = error.metadata ? error.metadata.get('grpc-status-details-bin') : [];
    if (!trailer) return error;
    return new Refused(details.lookupType('google.rpc.Status').decode(trailer));
  }
}

const deadline = () => ({deadline: Date.now() + 60000});

class Client {
  constructor(address) {
    const credentials = grpc.credentials.createInsecure();
    const {VolumeService, SnapshotService, PoolService, OperationService} = api.cairn.v1;
    this.volumes = new VolumeService(address, credentials);
    this.snapshots = new SnapshotService(address, credentials);
    this.pools = new PoolService(address, credentials);
    this.operations = new OperationService(address, credentials);
    this.health = new api.grpc.health.v1.Health(address, credentials);
    this.reflection = new api.grpc.reflection.v1alpha.ServerReflection(address, credentials);
  }

  close() {
    for (const stub of Object.values(this)) stub.close();
  }

  // A call with one request and one response.
  call(stub, method, request) {
    return new Promise((resolve, reject) => {
      stub[method](request, deadline(), (error, response) =>
        error ? reject(Refused.ofCall(error)) : resolve(response));
    });
  }

  // The messages of a stream of responses.
  async* stream(stub, method, request) {
    try {
      yield* stub[method](request, deadline());
    } catch (error) {
      throw Refused.ofCall(error);
    }
  }

  // Waits for an operation to end well.
  async ended(operation) {
    while (!['SUCCEEDED', 'FAILED', 'CANCELLED'].includes(
        operation.state.replace('OPERATION_STATE_', ''))) {
      ({operation} = await this.call(this.operations, 'WaitOperation',
                                     {operation_id: operation.id}));
    }
    if (operation.state !== 'OPERATION_STATE_SUCCEEDED') throw new Refused(operation.error);
    return operation;
  }

  // A change: its operation, ended well.
  async change(stub, method, request) {
    return this.ended((await this.call(stub, method, request)).operation);
  }

  // An upload: its operation, ended well.
  upload(messages) {
    return new Promise((resolve, reject) => {
      const call = this.volumes.ImportVolume(deadline(), (error, response) =>
        error ? reject(Refused.ofCall(error)) : resolve(this.ended(response.operation)));
      for (const message of messages) call.write(message);
      call.end();
    });
  }
}

module.exports = {Client, Refused};
