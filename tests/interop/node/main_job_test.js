'use strict';
// The main job over gRPC from Node, with the contract loaded from proto/.
//
//   node main_job_test.js CAIRND [TEST...]

const assert = require('node:assert/strict');
const {execFileSync} = require('node:child_process');
const {randomBytes, randomUUID} = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const {CairnServer} = require('./cairn_server');
const {Client, Refused} = require('./client');
const {crc32c} = require('./crc32c');

const MIB = 1 << 20;

// A server and a client of it.
class Fixture {
  async start(program) {
    this.server = new CairnServer(program);
    await this.server.start(async (address) => {
      const client = new Client(address);
      try {
        const {status} = await client.call(client.health, 'Check', {service: 'pool/default'});
        return status === 'SERVING';
      } catch {
        return false;
      } finally {
        client.close();
      }
    });
    this.client = new Client(this.server.address);
  }

  async close() {
    if (this.client) this.client.close();
    await this.server.close();
  }

  async create(request) {
    return (await this.client.change(this.client.volumes, 'CreateVolume', request)).volume;
  }

  async snapshot(volumeId, request = {}) {
    return (await this.client.change(this.client.snapshots, 'CreateSnapshot',
                                     {volume_id: volumeId, ...request})).snapshot;
  }

  remove(volumeId, request = {}) {
    return this.client.change(this.client.volumes, 'DeleteVolume',
                              {volume_id: volumeId, ...request});
  }

  async full(volumeId) {
    return (await this.client.call(this.client.volumes, 'GetVolume',
                                   {volume_id: volumeId, view: 'VOLUME_VIEW_FULL'})).volume;
  }

  // Writes into the file that the API names, in the format that it says, and into the model of it.
  async write(content, volumeId, pattern, offset, length) {
    const {chain} = await this.full(volumeId);
    const {file, format} = chain[chain.length - 1];
    execFileSync('qemu-io', ['-f', format.replace('FILE_FORMAT_', '').toLowerCase(), '-c',
                             `write -P ${pattern} ${offset} ${length}`,
                             path.join(this.server.share, file)]);
    content.fill(pattern, offset, offset + length);
  }

  // The content of a volume or a snapshot; every checksum is verified.
  async download(request) {
    let header, trailer, crc = 0, at = 0;
    const pieces = [];
    for await (const message of this.client.stream(this.client.volumes, 'ExportVolume', request)) {
      assert.equal(trailer, undefined, 'something follows the trailer');
      assert.equal(message.part === 'header', header === undefined);
      if (message.part === 'header') {
        header = message.header;
        at = header.offset;
      } else if (message.part === 'trailer') {
        trailer = message.trailer;
      } else {
        const {chunk} = message;
        assert.equal(chunk.offset, at);
        const piece = chunk.content === 'data' ? chunk.data : Buffer.alloc(chunk.zero_length);
        assert.equal(chunk.crc32c, crc32c(piece));
        crc = crc32c(piece, crc);
        at += piece.length;
        pieces.push(piece);
      }
    }
    const content = Buffer.concat(pieces);
    assert.equal(trailer.total_bytes, content.length);
    assert.equal(header.length, content.length);
    assert.equal(trailer.crc32c, crc);
    return content;
  }

  async assertHolds(content, request) {
    assert.ok(content.equals(await this.download(request)),
              `wrong content in ${JSON.stringify(request)}`);
  }

  async assertRefused(code, reason, promise) {
    const refused = await promise.then(() => assert.fail(`not refused with ${reason}`), (e) => e);
    assert.ok(refused instanceof Refused, refused);
    assert.deepEqual([refused.code, refused.reason, refused.domain], [code, reason, 'cairn']);
    return refused;
  }
}

const tests = {
  async main_job(f) {
    const {client} = f;
    for (const format of ['QCOW2', 'RAW_SPARSE', 'RAW_THICK']) {
      const size = 16 * MIB;
      const volume = await f.create({name: 'web', size_bytes: size, labels: {tier: 'gold'},
                                     format: `VOLUME_FORMAT_${format}`});
      assert.equal(volume.state, 'VOLUME_STATE_AVAILABLE');
      assert.equal(volume.active_file, `volume-${volume.id}`);
      const first = Buffer.alloc(size);
      await f.write(first, volume.id, 0xa1, 0, 2 * MIB);
      await f.write(first, volume.id, 0xa2, 9 * MIB + 512, 70 * 1024);
      const snapshot = await f.snapshot(volume.id, {name: 'first'});
      const now = Buffer.from(first);
      await f.write(now, volume.id, 0xb1, MIB, 3 * MIB);
      await f.assertHolds(now, {volume_id: volume.id});
      await f.assertHolds(first, {snapshot_id: snapshot.id});

      const {chain} = await f.full(volume.id);
      assert.deepEqual(chain.map((file) => file.snapshot_id), [snapshot.id, '']);
      const info = fs.readFileSync(path.join(f.server.share, `volume-${volume.id}.info`), 'utf8');
      assert.deepEqual(JSON.parse(info), {active: chain[1].file, [snapshot.id]: chain[1].file});

      // Into a new volume, with progress.
      const {operation} = await client.call(client.volumes, 'CreateVolume', {
        source_snapshot_id: snapshot.id, wait: {seconds: 0}});
      let last, done = 0;
      for await (const message of client.stream(client.operations, 'WatchOperation',
                                                {operation_id: operation.id})) {
        last = message.operation;
        if (!last.progress) continue;
        assert.ok(last.progress.done_bytes >= done);
        done = last.progress.done_bytes;
      }
      assert.equal(last.state, 'OPERATION_STATE_SUCCEEDED');
      assert.ok(done > 0);
      assert.equal(done, last.progress.total_bytes);
      await f.assertHolds(first, {volume_id: last.volume.id});

      await client.change(client.snapshots, 'RevertToSnapshot', {snapshot_id: snapshot.id});
      await f.assertHolds(first, {volume_id: volume.id});
      await client.change(client.snapshots, 'DeleteSnapshot', {snapshot_id: snapshot.id});
      await f.assertHolds(first, {volume_id: volume.id});
      await f.remove(last.volume.id);
      await f.remove(volume.id);
      assert.deepEqual(f.server.files(), []);
    }
  },

  async upload_and_download(f) {
    const size = 4 * MIB;
    const noise = randomBytes(4096);
    const messages = (spoil) => {
      const parts = [Buffer.alloc(MIB, 0x11), Buffer.alloc(MIB), noise];
      const list = [{header: {name: 'upload', size_bytes: size, format: 'VOLUME_FORMAT_QCOW2'}}];
      let offset = 0, crc = 0;
      parts.forEach((data, i) => {
        const content = i === 1 ? {zero_length: data.length} : {data};
        list.push({chunk: {offset, crc32c: crc32c(data) ^ spoil, ...content}});
        offset += data.length;
        crc = crc32c(data, crc);
      });
      return list.concat({trailer: {total_bytes: offset, crc32c: crc}});
    };
    await f.assertRefused('INVALID_ARGUMENT', 'CHECKSUM_MISMATCH', f.client.upload(messages(1)));
    assert.deepEqual(f.server.files(), []);
    const {volume} = await f.client.upload(messages(0));
    assert.equal(volume.source.imported, true);
    const expected = Buffer.alloc(size);
    expected.fill(0x11, 0, MIB);
    noise.copy(expected, 2 * MIB);
    await f.assertHolds(expected, {volume_id: volume.id});
    const offset = MIB + 512;
    await f.assertHolds(expected.subarray(offset), {volume_id: volume.id, offset});
  },

  async errors_say_why(f) {
    const unknown = randomUUID();
    let refused = await f.assertRefused('NOT_FOUND', 'VOLUME_NOT_FOUND', f.full(unknown));
    assert.equal(refused.metadata.volume, unknown);
    refused = await f.assertRefused('INVALID_ARGUMENT', 'INVALID_FIELD', f.full('../x'));
    assert.deepEqual(refused.fields, ['volume_id']);
    for (const size_bytes of [0, -512, 1000]) {
      refused = await f.assertRefused('INVALID_ARGUMENT', 'INVALID_FIELD', f.create({size_bytes}));
      assert.equal(refused.metadata.field, 'size_bytes');
    }
    const volume = await f.create({size_bytes: MIB});
    const snapshot = await f.snapshot(volume.id);
    refused = await f.assertRefused('FAILED_PRECONDITION', 'VOLUME_HAS_SNAPSHOTS',
                                    f.remove(volume.id));
    assert.ok(refused.metadata.snapshots.includes(snapshot.id));
    await f.remove(volume.id, {cascade: true});
  },

  async a_change_can_be_repeated(f) {
    const {client} = f;
    const create = (request) => client.change(client.volumes, 'CreateVolume', request);
    const first = await create({size_bytes: MIB, request_id: 'one'});
    assert.equal((await create({size_bytes: MIB, request_id: 'one'})).id, first.id);
    const refused = await f.assertRefused('ALREADY_EXISTS', 'REQUEST_ID_REUSED',
                                          create({size_bytes: 2 * MIB, request_id: 'one'}));
    assert.equal(refused.metadata.operation, first.id);
    assert.equal(f.server.files().length, 1);
    await f.remove(randomUUID(), {allow_missing: true});
  },

  async health_and_reflection(f) {
    const {client} = f;
    for (const service of ['', 'cairn.v1.VolumeService']) {
      assert.equal((await client.call(client.health, 'Check', {service})).status, 'SERVING');
    }
    const call = client.reflection.ServerReflectionInfo();
    call.write({list_services: ''});
    call.end();
    for await (const reply of call) {
      const names = reply.list_services_response.service.map((service) => service.name);
      for (const name of ['Volume', 'Snapshot', 'Pool', 'Operation']) {
        assert.ok(names.includes(`cairn.v1.${name}Service`), names.join());
      }
    }
  },
};

async function main([program, ...names]) {
  for (const name of names.length ? names : Object.keys(tests)) {
    const fixture = new Fixture();
    try {
      await fixture.start(program);
      await tests[name](fixture);
      console.log(`ok ${name}`);
    } catch (error) {
      process.exitCode = 1;
      console.error(`FAILED ${name}:`, error);
      if (fixture.server) console.error(`The end of cairnd's log:\n${fixture.server.logTail()}`);
    } finally {
      await fixture.close();
    }
  }
}

main(process.argv.slice(2));
