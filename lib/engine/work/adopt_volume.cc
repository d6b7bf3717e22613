// AdoptVolume: files that already lie on a share, with their map, become a volume. Nothing on the
// share is changed.
#include <fmt/format.h>

#include <algorithm>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/engine/fields.h"
#include "lib/engine/work.h"
#include "lib/engine/work/new_volume.h"
#include "lib/os/absence.h"

namespace cairn {
namespace {

class AdoptVolume : public WorkOn<AdoptVolumeRequest> {
 public:
  using WorkOn::WorkOn;

  absl::StatusOr<Admission> Admit() override {
    RETURN_IF_ERROR(CheckIds());
    RETURN_IF_ERROR(CheckText("name", r().name));
    RETURN_IF_ERROR(CheckLabels(r().labels));
    ASSIGN_OR_RETURN(Pool * pool, core_.PoolNamed(r().pool));
    r().pool = pool->options().name;
    if (r().share.empty()) return InvalidField("share", "is required");
    AskedVolume asked{r().volume_id,
                      r().name,
                      r().pool,
                      r().share,
                      0,
                      r().format,
                      r().labels,
                      {VolumeSource::Kind::kAdopted, r().file_name}};
    ASSIGN_OR_RETURN(auto same, FindSameVolume(core_, asked));
    if (same.has_value()) {
      const VolumePtr volume = core_.catalog().FindVolume(r().volume_id);
      if (volume == nullptr || volume->state == VolumeState::kCreating) return *std::move(same);
      Admission again;
      again.volume_id = again.target = r().volume_id;
      again.locks.push_back({r().volume_id, true});
      return again;
    }
    // Its files take what they take already: nothing is held for it.
    ASSIGN_OR_RETURN(PlacedVolume placed, PlaceVolume(core_, *pool, asked, 0, operation_id_));
    Admission admission;
    admission.volume_id = admission.target = r().volume_id;
    admission.locks.push_back({r().volume_id, true});
    found_ = placed.record;
    admission.records.put_volumes.push_back(std::move(placed.record));
    return admission;
  }

  std::string HomeShare() const override { return r().share; }

  bool NamesFiles() const override { return true; }

  // Fills in what it finds.
  absl::Status CheckFiles() override {
    const VolumePtr known = core_.catalog().FindVolume(r().volume_id);
    // It is compared with its record later, under its lock: that may write its map anew.
    if (known != nullptr && !IsNew(known)) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::string directory, core_.DirectoryOf(r().share));
    // The file may have been made just now, by another host.
    RETURN_IF_ERROR(core_.files().RefreshDirectory(directory));
    ASSIGN_OR_RETURN(auto map, ReadInfoMap(core_.files(), directory, r().volume_id));
    if (!map.has_value()) {
      // Without its map a volume would be adopted as it was before its first snapshot.
      ASSIGN_OR_RETURN(const bool absent,
                       IsAbsent(core_.files(), directory, InfoFileName(r().volume_id)));
      if (!absent) {
        return Error(Reason::kIoError,
                     fmt::format("{} on {} is listed, but could not be opened; repeat it",
                                 InfoFileName(r().volume_id), r().share),
                     {{"volume", r().volume_id}, {"share", r().share}});
      }
    }
    const std::string active = map.has_value() ? map->active : BaseFileName(r().volume_id);
    if (auto found = core_.files().Stat(directory + "/" + active);
        absl::IsNotFound(found.status())) {
      return Error(Reason::kFileNotFound, fmt::format("there is no {} on {}", active, r().share),
                   {{"file", active}, {"share", r().share}});
    }
    RETURN_IF_ERROR(CheckBaseFormat(directory));
    ASSIGN_OR_RETURN(Chain chain, ReadChain(core_.files(), directory, r().volume_id, active,
                                            found_.base_format));
    found_.active_file = active;
    found_.size_bytes = chain.back().image.virtual_size;
    RETURN_IF_ERROR(CheckVolumeSize("size_bytes", found_.size_bytes));
    found_.chain.clear();
    for (const ChainLink& link : chain) found_.chain.push_back(link.file);
    if (map.has_value()) return FindSnapshots(*map, chain);
    // Its newest content may lie in layers that only the map would name.
    return Annotate(core_.CheckNoneStandsOn(found_, found_.chain),
                    fmt::format("{} has no map {} beside it", active, InfoFileName(r().volume_id)));
  }

  absl::StatusOr<Plan> MakePlan() override {
    ASSIGN_OR_RETURN(VolumePtr volume, core_.Volume(r().volume_id));
    if (!IsNew(volume)) {
      // Another system may have had it since: what it did is to be found out now, not later.
      RETURN_IF_ERROR(core_.ReadView(*volume).status());
      return Plan{};
    }
    found_ = *volume;
    RETURN_IF_ERROR(CheckFiles());
    return Plan{};
  }

  void Began(Transaction& records) override {
    if (!IsNew(core_.catalog().FindVolume(r().volume_id))) return;
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      v.active_file = found_.active_file;
      v.size_bytes = found_.size_bytes;
      v.chain = found_.chain;
    });
    records.put_snapshots = snapshots_;
  }

  void Succeeded(const Plan&, Transaction& records) override {
    if (!IsNew(core_.catalog().FindVolume(r().volume_id))) return;
    ChangeVolume(r().volume_id, records, [&](VolumeRecord& v) {
      Settle(v);
      core_.Measure(v);
    });
    for (const SnapshotPtr& snapshot : core_.catalog().SnapshotsOf(r().volume_id)) {
      ChangeSnapshot(snapshot->id, records,
                     [](SnapshotRecord& s) { s.state = SnapshotState::kAvailable; });
    }
  }

  void Failed(const absl::Status&, Transaction& records) override {
    if (!IsNew(core_.catalog().FindVolume(r().volume_id))) return;
    for (const SnapshotPtr& snapshot : core_.catalog().SnapshotsOf(r().volume_id)) {
      records.remove_snapshots.push_back(snapshot->id);
    }
    records.remove_volumes.push_back(r().volume_id);
  }

 private:
  // False when it has been adopted before.
  bool IsNew(const VolumePtr& volume) const {
    return volume != nullptr && volume->created_by == operation_id_;
  }

  absl::Status CheckIds() {
    constexpr std::string_view kPrefix = "volume-";
    std::string_view name = r().file_name;
    auto id = name.starts_with(kPrefix) ? ParseId("file_name", name.substr(kPrefix.size()))
                                        : absl::StatusOr<std::string>(absl::UnknownError(""));
    if (!id.ok()) {
      return InvalidField("file_name", "must be volume-<uuid>, the name of the base file",
                          r().file_name);
    }
    if (r().volume_id.empty()) r().volume_id = *id;
    ASSIGN_OR_RETURN(r().volume_id, ParseId("volume_id", r().volume_id));
    if (BaseFileName(r().volume_id) != r().file_name) {
      return InvalidField("volume_id", "must be the UUID in file_name", r().volume_id);
    }
    return absl::OkStatus();
  }

  // A chain that has lost its base says so itself.
  absl::Status CheckBaseFormat(const std::string& directory) const {
    const absl::Status checked =
        CheckSaidFormat(core_.files(), directory, r().file_name, found_.base_format);
    return absl::IsNotFound(checked) ? absl::OkStatus() : checked;
  }

  // Not wrong in itself, but no id of ours.
  absl::Status CheckSnapshotId(const std::string& id) const {
    constexpr std::string_view kTemporary = "tmp-snap-";
    const std::string file = InfoFileName(r().volume_id);
    const auto refuse = [&](std::string_view what) {
      return Error(Reason::kImageUnsafe,
                   fmt::format("{} names snapshot \"{}\", {}", file, id, what),
                   {{"volume", r().volume_id}, {"file", file}, {"snapshot", id}});
    };
    if (id.starts_with(kTemporary)) {
      return refuse("a temporary one that a clone of Cinder's has left: delete it there first");
    }
    if (!IsCanonicalId(id) && ParseId("snapshot", id).ok()) {
      return refuse("a UUID in capitals: write it in lower case");
    }
    return absl::OkStatus();
  }

  // Each key of the map becomes a snapshot; its content is the backing file of its layer.
  absl::Status FindSnapshots(const InfoMap& map, const Chain& chain) {
    snapshots_.clear();  // it may be planned again
    for (const auto& [id, layer] : map.layers) {
      RETURN_IF_ERROR(CheckSnapshotId(id));
      const int position = IndexOf(chain, layer);
      if (!IsCanonicalId(id) || position < 1) {
        return Error(Reason::kMapCorrupt,
                     fmt::format("the map names snapshot \"{}\" with layer {}, which is not in the "
                                 "chain of {}",
                                 id, layer, map.active),
                     {{"volume", r().volume_id}, {"snapshot", id}});
      }
      if (core_.catalog().FindSnapshot(id) != nullptr) {
        return Error(Reason::kSnapshotExists, fmt::format("snapshot {} exists already", id),
                     {{"snapshot", id}});
      }
      const ChainLink& held = chain[static_cast<size_t>(position) - 1];
      SnapshotRecord snapshot;
      snapshot.id = id;
      snapshot.volume_id = r().volume_id;
      snapshot.state = SnapshotState::kCreating;
      snapshot.size_bytes = RoundUpToSector(held.image.virtual_size);
      snapshot.file = held.file;
      snapshot.layer = layer;
      snapshots_.push_back(std::move(snapshot));
    }
    // The order of the chain is the order of their making; the times of the files do not tell it.
    std::sort(snapshots_.begin(), snapshots_.end(),
              [&](const SnapshotRecord& a, const SnapshotRecord& b) {
                return IndexOf(chain, a.layer) < IndexOf(chain, b.layer);
              });
    for (SnapshotRecord& snapshot : snapshots_) {
      snapshot.create_time = snapshot.update_time = core_.clock().Now();
    }
    return absl::OkStatus();
  }

  VolumeRecord found_;
  std::vector<SnapshotRecord> snapshots_;
};

}  // namespace

std::unique_ptr<Work> MakeAdoptVolume(Core& core, AdoptVolumeRequest request,
                                      const std::string& operation_id) {
  return std::make_unique<AdoptVolume>(core, std::move(request), operation_id);
}

}  // namespace cairn
