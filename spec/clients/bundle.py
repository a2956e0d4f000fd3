# Bundles an image as euca2ools 3 does, with the same programs: a tar archive of the image, its SHA-1, gzip, AES-128-CBC by openssl, parts; and a
# manifest with the key encrypted to the cloud's certificate, signed with the user's key.
import hashlib
import io
import os
import subprocess
import tarfile


def openssl(*args, given=b''):
    return subprocess.run(['openssl', *args], input=given, stdout=subprocess.PIPE, check=True).stdout


class Digest(io.RawIOBase):
    """Writes on, and counts."""

    def __init__(self, target):
        self.target, self.sha1 = target, hashlib.sha1()

    def writable(self):
        return True

    def write(self, data):
        self.sha1.update(data)
        self.target.write(data)
        return len(data)


def bundle(image, name, cloud_certificate, private_key, kind='machine', ids='', part_bytes=10 * 1024 * 1024):
    """Writes NAME.part.NN and NAME.manifest.xml here; their names, the manifest's last."""
    key, iv = os.urandom(16).hex(), os.urandom(16).hex()
    with open(name + '.bundled', 'wb') as bundled:
        gzip = subprocess.Popen(['gzip', '-c'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        cipher = subprocess.Popen(['openssl', 'enc', '-e', '-aes-128-cbc', '-K', key, '-iv', iv], stdin=gzip.stdout, stdout=bundled)
        digest = Digest(gzip.stdin)
        with tarfile.open(mode='w|', fileobj=digest, format=tarfile.GNU_FORMAT) as archive, open(image, 'rb') as content:
            entry = tarfile.TarInfo(name)
            entry.size = os.path.getsize(image)
            archive.addfile(entry, content)
        gzip.stdin.close()
        assert (gzip.wait(), cipher.wait()) == (0, 0)
    parts = []
    with open(name + '.bundled', 'rb') as bundled:
        for content in iter(lambda: bundled.read(part_bytes), b''):
            part = '%s.part.%02d' % (name, len(parts))
            with open(part, 'wb') as file:
                file.write(content)
            parts.append((part, hashlib.sha1(content).hexdigest()))
    size = os.path.getsize(name + '.bundled')
    os.unlink(name + '.bundled')
    encrypted = [openssl('pkeyutl', '-encrypt', '-certin', '-inkey', cloud_certificate, '-pkeyopt', 'rsa_padding_mode:pkcs1', given=text.encode()).hex()
                 for text in (key, iv)]
    listed = ''.join('<part index="%d"><filename>%s</filename><digest algorithm="SHA1">%s</digest></part>' % (index, *part)
                     for index, part in enumerate(parts))
    signed = ('<machine_configuration><architecture>x86_64</architecture>%s</machine_configuration><image><name>%s</name><user>123456789012</user>'
              '<type>%s</type><digest algorithm="SHA1">%s</digest><size>%d</size><bundled_size>%d</bundled_size>'
              '<ec2_encrypted_key algorithm="AES-128-CBC">%s</ec2_encrypted_key><user_encrypted_key algorithm="AES-128-CBC"/>'
              '<ec2_encrypted_iv>%s</ec2_encrypted_iv><user_encrypted_iv/><parts count="%d">%s</parts></image>'
              % (ids, name, kind, digest.sha1.hexdigest(), os.path.getsize(image), size, *encrypted, len(parts), listed))
    signature = openssl('pkeyutl', '-sign', '-inkey', private_key, '-pkeyopt', 'digest:sha1', given=hashlib.sha1(signed.encode()).digest()).hex()
    manifest = name + '.manifest.xml'
    with open(manifest, 'w') as file:
        file.write("<?xml version='1.0' encoding='ASCII'?>\n<manifest><version>2007-10-10</version><bundler><name>euca2ools</name><version>3.4.1</version>"
                   '<release>0</release></bundler>%s<signature>%s</signature></manifest>' % (signed, signature))
    return [part for part, _ in parts] + [manifest]
