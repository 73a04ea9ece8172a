"""Which extensions of file names fit a content type. Python's own table differs by version and machine."""

__all__ = ["suffix_for"]

_TABLE = """
text/html                          html htm xhtml shtml
application/xhtml+xml              xhtml html htm xht
text/css                           css
text/csv                           csv
text/markdown                      md markdown
text/calendar                      ics
text/vcard                         vcf
text/tab-separated-values          tsv tab
text/javascript                    js mjs cjs
application/javascript             js mjs cjs
application/x-javascript           js mjs cjs
application/json                   json map geojson ipynb webmanifest jsonld har
application/ld+json                jsonld json
application/geo+json               geojson json
application/manifest+json          webmanifest json
application/x-ndjson               ndjson jsonl
application/jsonl                  jsonl ndjson
application/xml                    xml rss atom rdf xsl xslt xsd svg kml gpx wsdl opml plist
text/xml                           xml rss atom rdf xsl xslt xsd svg kml gpx wsdl opml plist
application/rss+xml                rss xml
application/atom+xml               atom xml
application/yaml                   yaml yml
application/x-yaml                 yaml yml
application/pdf                    pdf
application/rtf                    rtf
application/postscript             ps eps ai
application/epub+zip               epub
application/msword                 doc dot
application/vnd.ms-excel           xls xlt csv
application/vnd.ms-powerpoint      ppt pps pot
application/vnd.openxmlformats-officedocument.wordprocessingml.document    docx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet          xlsx
application/vnd.openxmlformats-officedocument.presentationml.presentation  pptx
application/vnd.oasis.opendocument.text                                    odt
application/vnd.oasis.opendocument.spreadsheet                             ods
application/vnd.oasis.opendocument.presentation                            odp
application/wasm                   wasm
application/zip                    zip jar docx xlsx pptx odt ods odp epub apk whl xpi kmz cbz
application/x-zip-compressed       zip jar docx xlsx pptx odt ods odp epub apk whl xpi kmz cbz
application/gzip                   gz tgz svgz
application/x-gzip                 gz tgz svgz
application/x-bzip2                bz2 tbz tbz2
application/x-xz                   xz txz
application/zstd                   zst tzst
application/x-tar                  tar
application/x-7z-compressed        7z
application/vnd.rar                rar
application/x-rar-compressed       rar
image/jpeg                         jpg jpeg jpe jfif
image/jpg                          jpg jpeg jpe jfif
image/png                          png apng
image/apng                         apng png
image/gif                          gif
image/webp                         webp
image/avif                         avif
image/heic                         heic heif
image/jxl                          jxl
image/bmp                          bmp dib
image/tiff                         tif tiff
image/svg+xml                      svg svgz
image/x-icon                       ico
image/vnd.microsoft.icon           ico
audio/mpeg                         mp3 mp2
audio/mp4                          m4a mp4
audio/ogg                          ogg oga opus
audio/wav                          wav
audio/x-wav                        wav
audio/flac                         flac
audio/aac                          aac
audio/webm                         weba webm
video/mp4                          mp4 m4v
video/mpeg                         mpeg mpg
video/ogg                          ogv ogg
video/webm                         webm
video/quicktime                    mov qt
video/x-matroska                   mkv
video/x-msvideo                    avi
video/mp2t                         ts m2ts
font/woff                          woff
font/woff2                         woff2
font/ttf                           ttf
font/otf                           otf
"""
_EXTENSIONS = {words[0]: words[1:] for words in map(str.split, _TABLE.strip().splitlines())}


def suffix_for(extension: str, content_type: str) -> str:
    """Return what has to follow a name with this extension so that the file opens: nothing where it fits.

    A type that says nothing (``text/plain``, ``application/octet-stream``, one that is not known) fits every
    extension.
    """
    media = content_type.partition(";")[0].strip().lower()
    fitting = _EXTENSIONS.get(media) or _family(media)
    if not fitting:
        return ".txt" if media == "text/plain" and not extension else ""
    return "" if extension[1:].lower() in fitting else f".{fitting[0]}"


def _family(media: str) -> list[str]:
    if media.endswith("+json"):
        return _EXTENSIONS["application/json"]
    return _EXTENSIONS["application/xml"] if media.endswith("+xml") else []
