#include "lib/hypervisor/libvirt_domain_xml.h"

#include <algorithm>
#include <pugixml.hpp>
#include <sstream>

#include "lib/base/json.h"
#include "lib/base/status.h"
#include "lib/hypervisor/qmp_graph.h"

namespace cairn {
namespace {

// <disk>, <backingStore> and <mirror> say in the same way what file they are.
LibvirtFile FileOf(const pugi::xml_node& node) {
  pugi::xml_node source = node.child("source");
  return {source.attribute("file").value(), source.attribute("index").value()};
}

LibvirtDisk DiskOf(const pugi::xml_node& node) {
  LibvirtDisk disk;
  disk.target = node.child("target").attribute("dev").value();
  disk.alias = node.child("alias").attribute("name").value();
  // Without a source it is an empty drive; <backingStore/> without one ends the chain.
  for (pugi::xml_node layer = node; layer.child("source"); layer = layer.child("backingStore")) {
    disk.files.push_back(FileOf(layer));
  }
  if (pugi::xml_node mirror = node.child("mirror")) {
    disk.mirror = LibvirtDisk::Mirror{FileOf(mirror).path,
                                      std::string_view(mirror.attribute("ready").value()) == "yes"};
  }
  return disk;
}

std::string Print(const pugi::xml_node& node) {
  std::ostringstream text;
  node.print(text, "", pugi::format_raw | pugi::format_no_declaration);
  return std::move(text).str();
}

void AddTyped(pugi::xml_node& disk, std::string_view format, const std::string& path) {
  disk.append_attribute("type").set_value("file");
  disk.append_child("driver").append_attribute("type").set_value(std::string(format).c_str());
  disk.append_child("source").append_attribute("file").set_value(path.c_str());
}

}  // namespace

absl::StatusOr<LibvirtDomain> ParseLibvirtDomain(const std::string& xml) {
  pugi::xml_document document;
  pugi::xml_parse_result parsed = document.load_buffer(xml.data(), xml.size());
  pugi::xml_node root = document.child("domain");
  if (!parsed || !root) {
    return Error(Reason::kInternal,
                 std::string("libvirt's XML of a domain cannot be read: ") + parsed.description());
  }
  LibvirtDomain domain;
  domain.running = !root.attribute("id").empty();
  for (const pugi::xml_node& disk : root.child("devices").children("disk")) {
    domain.disks.push_back(DiskOf(disk));
  }
  return domain;
}

std::vector<std::string> LibvirtDisksWithoutBacking(const std::string& xml,
                                                    const std::vector<std::string>& targets) {
  pugi::xml_document document;
  std::vector<std::string> disks;
  if (!document.load_buffer(xml.data(), xml.size())) return disks;
  for (pugi::xml_node disk : document.child("domain").child("devices").children("disk")) {
    const std::string target = disk.child("target").attribute("dev").value();
    if (std::find(targets.begin(), targets.end(), target) == targets.end()) continue;
    if (disk.remove_child("backingStore")) disks.push_back(Print(disk));
  }
  return disks;
}

std::string FindBlockNode(const std::string& query_block, const std::string& alias) {
  auto answer = ParseJson("QEMU's list of disks", query_block);
  if (!answer.ok() || !answer->is_object() || alias.empty()) return {};
  for (const nlohmann::json& disk : answer->value("return", nlohmann::json::array())) {
    // "/machine/peripheral/<alias>/virtio-backend", or no more than "<alias>".
    const std::string device = "/" + JsonValue<std::string>(disk, "qdev", "") + "/";
    if (device.find("/" + alias + "/") != std::string::npos && disk.contains("inserted")) {
      return JsonValue<std::string>(disk["inserted"], "node-name", "");
    }
  }
  return {};
}

std::string FindFileNode(const std::string& query_nodes, const std::string& path) {
  auto answer = ParseJson("QEMU's list of nodes", query_nodes);
  if (!answer.ok() || !answer->is_object()) return {};
  for (const nlohmann::json& node : answer->value("return", nlohmann::json::array())) {
    // The one below it, which knows no format, has the same file.
    if (PathInFilename(JsonValue<std::string>(node, "file", "")) == path &&
        JsonValue<std::string>(node, "drv", "file") != "file") {
      return JsonValue<std::string>(node, "node-name", "");
    }
  }
  return {};
}

std::string LibvirtSnapshotXml(const std::vector<LibvirtNewLayer>& layers,
                               const std::vector<std::string>& others) {
  pugi::xml_document document;
  pugi::xml_node disks = document.append_child("domainsnapshot").append_child("disks");
  for (const LibvirtNewLayer& layer : layers) {
    pugi::xml_node disk = disks.append_child("disk");
    disk.append_attribute("name").set_value(layer.target.c_str());
    disk.append_attribute("snapshot").set_value("external");
    AddTyped(disk, FileFormatName(FileFormat::kQcow2), layer.path);
  }
  for (const std::string& target : others) {
    pugi::xml_node disk = disks.append_child("disk");
    disk.append_attribute("name").set_value(target.c_str());
    disk.append_attribute("snapshot").set_value("no");
  }
  return Print(document);
}

std::string LibvirtCopyXml(const std::string& path, FileFormat format) {
  pugi::xml_document document;
  pugi::xml_node disk = document.append_child("disk");
  AddTyped(disk, FileFormatName(format), path);
  return Print(document);
}

}  // namespace cairn
