/*
   The rules that every agent has. `weight` is what a match weighs (engines/mod.rs); `description` is what the analyst reads.

   Patterns are written so that they do not match this text, nor the program that carries it: in hexadecimal, or with a class
   where a letter stands.
*/

import "elf"

rule eicar_test_file
{
    meta:
        description = "the EICAR test file, which is harmless and made to be found"
        weight = 100
    strings:
        // https://www.eicar.org/download-anti-malware-testfile/
        $text = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D
                  53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A }
    condition:
        // By its definition it begins the file; a program that carries it is a test of the same.
        $text at 0 or (uint32(0) == 0x464c457f and $text)
}

rule reverse_shell
{
    meta:
        description = "a line that gives a shell to another machine"
        weight = 60
    strings:
        $bash = /(ba|da|z|k)?[s]h([ \t]+-[a-z]{1,4}){1,3}[ \t]*[0-9]{0,3}[<>&]{1,3}[ \t]*\/de[v]\/(tcp|udp)\/[^ \t\n]{1,255}\/[0-9]{1,5}/
        $fd = /exec[ \t]+[0-9]{1,3}<>[ \t]*\/de[v]\/(tcp|udp)\/[^ \t\n]{1,255}\/[0-9]{1,5}/
        $netcat = /mk[f]ifo[ \t][^\n]{1,200}[s]h[ \t]+-i[^\n]{1,200}\bn(c|cat|etcat)\b/
        $openssl = /\b(ba|da|z|k)?[s]h[ \t]+-i[^\n]{0,200}\|[ \t]*openss[l][ \t]+s_client[ \t]/
        $nc_path = /\bn(c|cat|etcat)(\.traditional|\.openbsd)?[ \t][^\n|;]{0,120}-{1,2}(e|c|exec|sh-exec)[ \t]+(\/usr)?\/bin\/(ba|da|z|k)?[s]h\b/
        $nc_name = /\bn(c|cat|etcat)(\.traditional|\.openbsd)?[ \t]([^\n|;]{0,120}[ \t])?-(c|e|-exec|-sh-exec) (ba|da|z|k)?[s]h\b/
        $python = /socket\.socket\([^\n]{0,300}os\.du[p]2\([^\n]{0,300}(subprocess|pty\.spawn|os\.exec)/
        $perl = /use Sock[e]t[^\n]{0,300}open\(STDIN,[^\n]{0,200}exec[ \t]*[\({"']/
        $php = /fsock[o]pen\([^\n]{0,200}(exec|shell_exec|system|passthru|popen|proc_open)[ \t]*\([^\n]{0,40}[s]h\b[^\n]{0,40}([ \t]-i|[<>]&)/
        $ruby = /TCPSo[c]ket\.(open|new)\([^\n]{0,200}((exec|spawn|system)[^\n]{0,100}[s]h\b|IO\.popen\()/
        $awk = /\/ine[t]\/(tcp|udp)\/0\/[^\n"]{1,255}\/[0-9]{1,5}"[^\n]{0,300}\|&[ \t]*getline[^\n]{0,300}\|&[ \t]*getline/
        $socat = /soca[t][ \t][^\n]{0,200}(exec|EXEC):[^\n]{0,60}[s]h[^\n]{0,80}(tcp|TCP)[^\n]{0,10}:/
    condition:
        // Programs and collections on the matter carry such lines; what is used is short, or text however much is around it.
        any of them and (filesize < 1MB or uint16(0) == 0x2123 or for all i in (0..63) : (uint8(i) > 8))
}

rule php_web_shell
{
    meta:
        description = "PHP that runs what a request brings"
        weight = 70
    strings:
        $php = /<\?(php|=|[ \t\r\n])/
        $eval = /\b(eva[l]|assert|system|exec|shell_exec|passthru|popen|proc_open)[ \t]*\([ \t]*(@?(base64_decode|gzinflate|gzuncompress|str_rot13|stripslashes|trim)[ \t]*\([ \t]*){0,4}@?\$_(GE[T]|POST|REQUEST|COOKIE|SERVER|FILES)\b/
        $call = /\$_(GE[T]|POST|REQUEST|COOKIE)[ \t]*\[[^\]\n]{1,64}\][ \t]*\([ \t]*@?\$_(GE[T]|POST|REQUEST|COOKIE)/
        $packed = /\bev[a]l[ \t]*\([ \t]*(gz(inflate|uncompress)|str_rot13)[ \t]*\([ \t]*(base64_decode|str_rot13)[ \t]*\(/
        // Comments put names into such marks too, behind words.
        $marks = /(<\?=|<\?php|\b(echo|print|return)|[=;@(])[ \t]*`[^`\n]{0,64}\$_(GE[T]|POST|REQUEST|COOKIE)[ \t]*\[/
        $include = /\b(include|require)(_once)?[ \t]*\(?[ \t]*@?\$_(GE[T]|POST|REQUEST|COOKIE)[ \t]*\[/
        // A name of a function that is put together, and a function whose name is in a variable.
        $joined = /('[a-z_]{1,12}'( \. |\.)'[a-z_]{1,12}'|"[a-z_]{1,12}"( \. |\.)"[a-z_]{1,12}")/
        $variable = /\$[A-Za-z_][A-Za-z0-9_]{0,40}[ \t]*\([ \t]*@?\$_(GE[T]|POST|REQUEST|COOKIE)[ \t]*\[[^\]\n]{1,64}\][ \t]*\)/
    condition:
        $php and (any of ($eval, $call, $packed, $marks, $include) or ($joined and $variable)) and
        (filesize < 2MB or $php in (0..256) or for all i in (0..63) : (uint8(i) > 8))
}

rule downloads_and_runs
{
    meta:
        description = "a line that runs what it fetches from a bare address or hides where that comes from"
        weight = 40
    strings:
        $address = /\b(cur[l]|wge[t])[ \t]([^\n|;]{0,200}[ \t"'\/])?[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}[:\/][^\n|;]{0,200}\|[ \t]*(sudo[ \t]+)?(ba|da|z)?sh\b/
        $within = /(\b(ba|da|z|k)?[s]h|\beval|\bsource|[ \t;&|]\.)[ \t]+(-[a-z]{0,3}c[ \t]+)?["']?(\$\(|<\(|`)[ \t]*(cur[l]|wge[t])[ \t]([^\n|;]{0,200}[ \t"'\/])?[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}[:\/]/
        $hidden = /\bbase6[4][ \t]+(-d|--decode|-D)[^\n|;]{0,80}\|[ \t]*(sudo[ \t]+)?(ba|da|z)?sh\b/
        $onion = /\b(cur[l]|wge[t])[ \t][^\n|;]{0,200}\.onion[^\n|;]{0,200}\|[ \t]*(ba|da|z)?sh\b/
    condition:
        any of them and (filesize < 1MB or uint16(0) == 0x2123 or for all i in (0..63) : (uint8(i) > 8))
}

rule coin_miner
{
    meta:
        description = "a miner of coins: it speaks a pool's protocol and has a miner's settings"
        weight = 60
    strings:
        $pool = /s[t]ratum(\+(tcp|ssl|tls))?:\/\//
        $donate = { 64 6F 6E 61 74 65 2D 6C 65 76 65 6C }
        $randomx = /\b[r]andomx\b|\b[c]ryptonight\b/ nocase
        $name = /\b[x]mrig\b|\b[x]mr-stak\b|\b[m]inerd\b/ nocase
    condition:
        uint32(0) == 0x464c457f and $pool and 2 of ($donate, $randomx, $name)
}

rule preload_rootkit
{
    meta:
        description = "a library that stands in for readdir and looks for the real one, as what hides files and processes does"
        weight = 80
    strings:
        $dlsym = { 64 6C 73 79 6D 00 }
        $readdir = { 00 72 65 61 64 64 69 72 }
        $proc = { 2F 70 72 6F 63 }
        $preload = { 6C 64 2E 73 6F 2E 70 72 65 6C 6F 61 64 }
        // Sanitizers and tracers stand in for everything.
        $sanitizer = { 5F 5F 73 61 6E 69 74 69 7A 65 72 5F }
    condition:
        uint32(0) == 0x464c457f and uint16(16) == 3 and filesize < 5MB and $dlsym and $readdir and ($proc or $preload) and not $sanitizer and
        for any s in elf.dynsym : (s.name == "dlsym" and s.shndx == 0) and
        for any s in elf.dynsym : ((s.name == "readdir" or s.name == "readdir64") and s.shndx != 0)
}

rule meterpreter
{
    meta:
        description = "a part of Metasploit's Meterpreter"
        weight = 80
    strings:
        $mettle = { 6D 65 74 74 6C 65 5F 63 32 5F }
        $core = { 63 6F 72 65 5F 63 68 61 6E 6E 65 6C 5F 6F 70 65 6E }
        $stdapi = { 73 74 64 61 70 69 5F 66 73 5F }
    condition:
        (uint32(0) == 0x464c457f or uint16(0) == 0x5a4d) and ($mettle or ($core and $stdapi))
}

rule credential_dumper
{
    meta:
        description = "it reads passwords from the memory of other processes"
        weight = 60
    strings:
        $penguin = /\b[m]imipenguin\b/ nocase
        $mimikatz = /\b[m]imikatz\b/ nocase
        $kiwi = { 73 00 65 00 6B 00 75 00 72 00 6C 00 73 00 61 00 3A 00 3A 00 }
        $ascii = { 73 65 6B 75 72 6C 73 61 3A 3A 6C 6F 67 6F 6E }
    condition:
        $penguin and filesize < 5MB and uint32(0) == 0x464c457f or
        uint16(0) == 0x5a4d and $mimikatz and any of ($kiwi, $ascii)
}
