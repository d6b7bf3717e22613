// cairnctl volume: attach, detach, adopt.
#include "cairnctl/commands.h"
#include "cairnctl/finish.h"
#include "cairnctl/names.h"

namespace cairn::cairnctl {
namespace {

struct AttachArgs {
  std::string volume, instance, host, id;
  bool read_only = false, assisted = false;
  std::string qmp_address, qmp_node;
  std::string libvirt_uri, libvirt_domain, libvirt_target;
};

struct DetachArgs {
  std::string volume, attachment, reason;
  bool force = false;
};

struct AdoptArgs {
  std::string share, file, format, name, pool;
  std::vector<std::string> labels;
};

void SetHypervisor(const AttachArgs& args, v1::AttachVolumeRequest* request) {
  if (!args.qmp_address.empty()) {
    auto* qmp = request->mutable_hypervisor()->mutable_qmp();
    qmp->set_address(args.qmp_address);
    qmp->set_node_or_device(args.qmp_node);
  } else if (!args.libvirt_uri.empty()) {
    auto* libvirt = request->mutable_hypervisor()->mutable_libvirt();
    libvirt->set_uri(args.libvirt_uri);
    libvirt->set_domain(args.libvirt_domain);
    libvirt->set_target(args.libvirt_target);
  } else if (args.assisted) {
    request->mutable_hypervisor()->mutable_assisted();
  }
}

absl::Status RunAttach(Session* session, const AttachArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto id = VolumeId(session, args.volume);
  if (!id.ok()) return id.status();
  v1::AttachVolumeRequest request;
  request.set_volume_id(*id);
  request.set_attachment_id(args.id);
  request.set_instance_id(args.instance);
  request.set_host(args.host);
  request.set_access(args.read_only ? v1::ACCESS_MODE_READ_ONLY : v1::ACCESS_MODE_READ_WRITE);
  SetHypervisor(args, &request);
  session->SetChangeFields(&request);
  return Finish(session, (*client)->AttachVolume(request, session->call_options()),
                "Volume attached.");
}

absl::Status RunDetach(Session* session, const DetachArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  const auto id = VolumeId(session, args.volume);
  if (!id.ok()) return id.status();
  v1::DetachVolumeRequest request;
  request.set_volume_id(*id);
  request.set_attachment_id(args.attachment);
  request.set_force(args.force);
  request.set_reason(args.reason);
  session->SetChangeFields(&request);
  return Finish(session, (*client)->DetachVolume(request, session->call_options()),
                "Volume detached.");
}

absl::Status RunAdopt(Session* session, const AdoptArgs& args) {
  const auto client = session->GetClient();
  if (!client.ok()) return client.status();
  v1::AdoptVolumeRequest request;
  request.set_share(args.share);
  request.set_file_name(args.file);
  request.set_format(VolumeFormatOf(args.format));
  request.set_name(args.name);
  request.set_pool(args.pool);
  SetLabels(args.labels, request.mutable_labels());
  session->SetChangeFields(&request);
  return Finish(session, (*client)->AdoptVolume(request, session->call_options()),
                "Volume adopted.");
}

void AddAttach(CLI::App* noun, Session* session) {
  auto args = std::make_shared<AttachArgs>();
  CLI::App* verb =
      AddVerb(noun, "attach", "Record who uses a volume, and show how to open it",
              {"volume attach web-1 --instance vm-7 --host node-3",
               "volume attach iso --instance vm-7 --read-only",
               "volume attach web-1 --instance vm-7 --qmp unix:/run/vm-7.qmp --qmp-node drive0"});
  verb->add_option("volume", args->volume, "Id or name")->required()->type_name(kVolumeType);
  verb->add_option("--instance", args->instance, "The machine that uses it: an id of yours")
      ->required();
  verb->add_option("--host", args->host, "The host on which it runs");
  verb->add_option("--id", args->id, "The id that the attachment shall have")->type_name("UUID");
  verb->add_flag("--read-only", args->read_only,
                 "It only reads: several such attachments are possible");
  auto* qmp =
      verb->add_option("--qmp", args->qmp_address,
                       "The QMP socket, as the server reaches it: unix:/path or tcp:host:port");
  qmp->type_name("ADDRESS");
  auto* node =
      verb->add_option("--qmp-node", args->qmp_node, "The disk there: node name or device id");
  qmp->needs(node);
  node->needs(qmp);
  auto* libvirt =
      verb->add_option("--libvirt", args->libvirt_uri, "The libvirt connection")->type_name("URI");
  auto* domain = verb->add_option("--libvirt-domain", args->libvirt_domain, "The domain");
  auto* target =
      verb->add_option("--libvirt-target", args->libvirt_target, "The disk, such as vda");
  libvirt->needs(domain)->needs(target);
  domain->needs(libvirt);
  target->needs(libvirt);
  auto* assisted =
      verb->add_flag("--assisted", args->assisted,
                     "Whoever attaches commands the hypervisor by itself, on instruction");
  qmp->excludes(libvirt)->excludes(assisted);
  libvirt->excludes(assisted);
  OnRun(verb, session, args, RunAttach);
}

void AddDetach(CLI::App* noun, Session* session) {
  auto args = std::make_shared<DetachArgs>();
  CLI::App* verb =
      AddVerb(noun, "detach", "End a use of a volume, after the disk was closed",
              {"volume detach web-1",
               "volume detach web-1 --force --reason 'host node-3 is dead and fenced'"});
  verb->add_option("volume", args->volume, "Id or name")->required()->type_name(kVolumeType);
  verb->add_option("--attachment", args->attachment, "Which one, if there are several")
      ->type_name("UUID");
  auto* reason = verb->add_option("--reason", args->reason, "Why it is forced, for the log");
  auto* force =
      verb->add_flag("--force", args->force,
                     "Do not ask the hypervisor. Only when nobody has the disk open for certain");
  force->needs(reason);
  reason->needs(force);
  OnRun(verb, session, args, RunDetach);
}

void AddAdopt(CLI::App* noun, Session* session) {
  auto args = std::make_shared<AdoptArgs>();
  CLI::App* verb = AddVerb(noun, "adopt", "Make a volume out of files that already lie on a share",
                           {"volume adopt --share nfs1:/pool --format qcow2 "
                            "volume-0b2f8f0e-95a0-4c4e-8d0d-3a2d5d0d8a11"});
  verb->add_option("file,--file", args->file, "Its name on the share: volume-<uuid>")->required();
  verb->add_option("--share", args->share, "The share")->required()->type_name("ADDRESS");
  AddChoice(verb, "--format", &args->format, VolumeFormatWords(), "The format of the base file")
      ->required();
  verb->add_option("--name", args->name, "A name for people");
  verb->add_option("--pool", args->pool, "The pool; the default pool by default")
      ->type_name(kPoolType);
  AddLabels(verb, &args->labels, "A label; may be given several times");
  OnRun(verb, session, args, RunAdopt);
}

}  // namespace

void AddVolumeUseVerbs(CLI::App* volume, Session* session) {
  AddAttach(volume, session);
  AddDetach(volume, session);
  AddAdopt(volume, session);
}

}  // namespace cairn::cairnctl
