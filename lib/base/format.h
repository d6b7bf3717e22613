// The formats of files and of volumes.
#ifndef CAIRN_LIB_BASE_FORMAT_H_
#define CAIRN_LIB_BASE_FORMAT_H_

#include <optional>
#include <string_view>

namespace cairn {

// What one file is. Always recorded, never probed: a guest can write any header into a raw file.
enum class FileFormat { kRaw, kQcow2 };

// What a volume was asked to be; the base file of its chain. Layers on top are always qcow2.
enum class VolumeFormat { kQcow2, kRawSparse, kRawThick };

inline FileFormat BaseFileFormat(VolumeFormat format) {
  return format == VolumeFormat::kQcow2 ? FileFormat::kQcow2 : FileFormat::kRaw;
}

// qemu's names, as in headers and command lines: "raw", "qcow2".
inline std::string_view FileFormatName(FileFormat format) {
  return format == FileFormat::kRaw ? "raw" : "qcow2";
}
inline std::optional<FileFormat> FileFormatFromName(std::string_view name) {
  if (name == "raw") return FileFormat::kRaw;
  if (name == "qcow2") return FileFormat::kQcow2;
  return std::nullopt;
}

inline std::string_view VolumeFormatName(VolumeFormat format) {
  switch (format) {
    case VolumeFormat::kQcow2:
      return "QCOW2";
    case VolumeFormat::kRawSparse:
      return "RAW_SPARSE";
    case VolumeFormat::kRawThick:
      return "RAW_THICK";
  }
  return "";
}
inline std::optional<VolumeFormat> VolumeFormatFromName(std::string_view name) {
  if (name == "QCOW2") return VolumeFormat::kQcow2;
  if (name == "RAW_SPARSE") return VolumeFormat::kRawSparse;
  if (name == "RAW_THICK") return VolumeFormat::kRawThick;
  return std::nullopt;
}

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_FORMAT_H_
