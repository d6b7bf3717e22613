'use strict';
// A real cairnd on directories of its own, for one test.

const {spawn} = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const {setTimeout: sleep} = require('node:timers/promises');

// A port of the loopback interface that nobody listens on.
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const {port} = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

class CairnServer {
  constructor(program) {
    this.program = program;
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), 'cairn-interop-'));
    this.share = path.join(this.root, 'share');
    this.log = path.join(this.root, 'cairnd.log');
    fs.mkdirSync(this.share);
    fs.writeFileSync(path.join(this.root, 'nfs_shares'), `file://${this.share}\n`);
  }

  // Starts it; `isServing` asks its health.
  async start(isServing) {
    this.address = `127.0.0.1:${await freePort()}`;
    fs.writeFileSync(path.join(this.root, 'cairnd.yaml'), [
      `listen: ["${this.address}"]`,
      `state_path: ${this.root}/state`,
      'pools:',
      '  default:',
      `    nfs_shares_config: ${this.root}/nfs_shares`,
      '',
    ].join('\n'));
    const log = fs.openSync(this.log, 'a');
    this.process = spawn(this.program, ['--config', path.join(this.root, 'cairnd.yaml')],
                         {stdio: ['ignore', log, log]});
    fs.closeSync(log);
    this.ended = new Promise((resolve) => {
      this.process.on('exit', resolve);
      this.process.on('error', resolve);
    });
    for (const giveUp = Date.now() + 30000; ; await sleep(50)) {
      if (await isServing(this.address)) return;
      if (this.exited() || Date.now() > giveUp) {
        throw new Error('cairnd is not serving');
      }
    }
  }

  exited() {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  logTail() {
    if (!fs.existsSync(this.log)) return '';
    return fs.readFileSync(this.log, 'utf8').split('\n').slice(-40).join('\n');
  }

  async close() {
    if (this.process && !this.exited()) {
      this.process.kill('SIGTERM');
      const timer = setTimeout(() => this.process.kill('SIGKILL'), 30000);
      await this.ended;
      clearTimeout(timer);
    }
    fs.rmSync(this.root, {recursive: true, force: true});
  }

  // The files of volumes on the share.
  files() {
    return fs.readdirSync(this.share).filter((name) => name.startsWith('volume-')).sort();
  }
}

module.exports = {CairnServer};
