#include "lib/hypervisor/libvirt_domain_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/matchers.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// As libvirt 9.0 prints it.
constexpr char kDomain[] = R"(<domain type='qemu' id='3'>
  <name>web</name>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/share/a&amp;b' index='5'/>
      <backingStore type='file' index='4'>
        <format type='raw'/>
        <source file='/share/base'/>
        <backingStore/>
      </backingStore>
      <mirror type='file' file='/other/a' format='qcow2' job='copy' ready='yes'>
        <format type='qcow2'/>
        <source file='/other/a' index='7'/>
        <backingStore type='file'><source file='/other/base'/><backingStore/></backingStore>
      </mirror>
      <target dev='vda' bus='virtio'/>
      <alias name='virtio-disk0'/>
    </disk>
    <disk type='block' device='disk'>
      <source dev='/dev/sdx'/>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <target dev='sda' bus='sata'/>
    </disk>
  </devices>
</domain>)";

TEST(LibvirtDomainXml, ReadsDisks) {
  ASSERT_OK_AND_ASSIGN(LibvirtDomain domain, ParseLibvirtDomain(kDomain));
  EXPECT_TRUE(domain.running);
  ASSERT_EQ(domain.disks.size(), 3u);
  const LibvirtDisk& vda = domain.disks[0];
  EXPECT_EQ(vda.target, "vda");
  EXPECT_EQ(vda.alias, "virtio-disk0");
  ASSERT_EQ(vda.files.size(), 2u);
  EXPECT_EQ(vda.files[0].path, "/share/a&b");
  EXPECT_EQ(vda.files[0].index, "5");
  EXPECT_EQ(vda.files[1].path, "/share/base");
  ASSERT_TRUE(vda.mirror);
  EXPECT_EQ(vda.mirror->path, "/other/a");
  EXPECT_TRUE(vda.mirror->ready);

  ASSERT_EQ(domain.disks[1].files.size(), 1u);
  EXPECT_EQ(domain.disks[1].files[0].path, "");
  EXPECT_FALSE(domain.disks[1].mirror);
  EXPECT_THAT(domain.disks[2].files, IsEmpty());
}

TEST(LibvirtDomainXml, KnowsADefinitionFromALiveMachine) {
  ASSERT_OK_AND_ASSIGN(LibvirtDomain domain,
                       ParseLibvirtDomain("<domain type='kvm'><devices/></domain>"));
  EXPECT_FALSE(domain.running);
}

TEST(LibvirtDomainXml, RefusesWhatIsNoDomain) {
  for (const char* text : {"", "no XML", "<network/>", "<domain><devices></domain>"}) {
    EXPECT_THAT(ParseLibvirtDomain(text), HasReasonOf(Reason::kInternal)) << text;
  }
}

TEST(LibvirtDomainXml, AsksForLayersAndLeavesTheOtherDisks) {
  EXPECT_EQ(LibvirtSnapshotXml({{"vda", "/share/a<b"}}, {"vdb"}),
            "<domainsnapshot><disks>"
            "<disk name=\"vda\" snapshot=\"external\" type=\"file\"><driver type=\"qcow2\"/>"
            "<source file=\"/share/a&lt;b\"/></disk>"
            "<disk name=\"vdb\" snapshot=\"no\"/></disks></domainsnapshot>");
  EXPECT_EQ(LibvirtCopyXml("/other/a", FileFormat::kRaw),
            "<disk type=\"file\"><driver type=\"raw\"/><source file=\"/other/a\"/></disk>");
}

TEST(LibvirtDomainXml, TakesTheFilesBelowOutOfADefinition) {
  std::vector<std::string> disks = LibvirtDisksWithoutBacking(kDomain, {"vda", "vdb"});
  ASSERT_EQ(disks.size(), 1u);
  EXPECT_THAT(disks[0], HasSubstr("/share/a&amp;b"));
  EXPECT_THAT(disks[0], HasSubstr("virtio-disk0"));
  EXPECT_THAT(disks[0], Not(HasSubstr("/share/base")));
  EXPECT_THAT(LibvirtDisksWithoutBacking(kDomain, {"vdb"}), IsEmpty());
}

TEST(LibvirtDomainXml, FindsTheNodeOfADevice) {
  const std::string answer = R"({"return":[
    {"device":"","qdev":"/machine/peripheral/virtio-disk1/virtio-backend",
     "inserted":{"node-name":"libvirt-1-format"}},
    {"device":"","qdev":"sata0-0-0"},
    {"device":"","qdev":"scsi0-0-0-0","inserted":{"node-name":"libvirt-2-format"}}],"id":"x"})";
  EXPECT_EQ(FindBlockNode(answer, "virtio-disk1"), "libvirt-1-format");
  EXPECT_EQ(FindBlockNode(answer, "scsi0-0-0-0"), "libvirt-2-format");
  EXPECT_EQ(FindBlockNode(answer, "sata0-0-0"), "");
  EXPECT_EQ(FindBlockNode(answer, "virtio-disk"), "");
  EXPECT_EQ(FindBlockNode(answer, ""), "");
  EXPECT_EQ(FindBlockNode("no JSON", "virtio-disk1"), "");
  EXPECT_EQ(FindBlockNode(R"({"return":3})", "virtio-disk1"), "");
}

TEST(LibvirtDomainXml, FindsTheNodeOfAFile) {
  const std::string answer = R"({"return":[
    {"node-name":"n1","drv":"file","file":"/s/a"},{"node-name":"n2","drv":"qcow2","file":"/s/a"},
    {"node-name":"n3","drv":"raw","file":"/s/b"},{"node-name":"n4","drv":"file","file":"/s/c"},
    {"node-name":"n5","drv":"qcow2","file":
     "json:{\"backing\":null,\"driver\":\"qcow2\",\"file\":{\"filename\":\"/s/d\"}}"}]})";
  EXPECT_EQ(FindFileNode(answer, "/s/d"), "n5");
  EXPECT_EQ(FindFileNode(answer, "/s/a"), "n2");
  EXPECT_EQ(FindFileNode(answer, "/s/b"), "n3");
  EXPECT_EQ(FindFileNode(answer, "/s/c"), "");
  EXPECT_EQ(FindFileNode("no JSON", "/s/a"), "");
}

}  // namespace
}  // namespace cairn::testing
