// The format of an image by its first bytes, as a default for the form. The service decides.

const text = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length))

// Glance's disk_format, the name of the format, and the first bytes.
const BEGINNINGS = [
  ['qcow2', 'QCOW2', 'QFI\xfb'],
  ['vmdk', 'VMDK', 'KDMV'],
  ['vmdk', 'VMDK', '# Disk DescriptorFile'],
  ['vhdx', 'VHDX', 'vhdxfile'],
  ['vhd', 'VHD', 'conectix'],
  ['vhd', 'VHD', 'cxsparse'],
  ['ploop', 'Ploop', 'WithoutFreeSpace'],
  ['ploop', 'Ploop', 'WithouFreSpacExt'],
]
const PACKED = [
  ['gzip', '\x1f\x8b'],
  ['xz', '\xfd7zXZ'],
  ['zstd', '\x28\xb5\x2f\xfd'],
  ['bzip2', 'BZh'],
  ['zip', 'PK\x03\x04'],
]

export const FORMATS = {
  raw: 'Raw',
  qcow2: 'QCOW2',
  iso: 'ISO',
  vmdk: 'VMDK',
  vhd: 'VHD',
  vhdx: 'VHDX',
  vdi: 'VDI',
  ploop: 'Ploop',
  ami: 'AMI',
  ari: 'ARI',
  aki: 'AKI',
}

/** Return { format, note }: the likely disk_format, and a warning for people or null. */
export const detect = async (file) => {
  const head = new Uint8Array(await file.slice(0, 512).arrayBuffer())
  const begins = (mark) => text(head, 0, mark.length) === mark
  const known = BEGINNINGS.find(([, , mark]) => begins(mark))
  if (known) return { format: known[0], note: null }
  if (head.length > 68 && new DataView(head.buffer).getUint32(64, true) === 0xbeda107f)
    return { format: 'vdi', note: null }
  if (text(new Uint8Array(await file.slice(32769, 32774).arrayBuffer()), 0, 5) === 'CD001')
    return { format: 'iso', note: null }
  if (text(head, 257, 5) === 'ustar')
    return {
      format: 'raw',
      note: 'This looks like an archive (OVA?), not like a disk. Glance may refuse it.',
    }
  const packed = PACKED.find(([, mark]) => begins(mark))
  if (packed)
    return {
      format: 'raw',
      note: `This looks compressed (${packed[0]}). Unpack it first: no machine boots from it as it is.`,
    }
  return { format: 'raw', note: null }
}
