"""Strings that want to be more than text: two hundred and more, for every place where a page or a file shows one."""

from __future__ import annotations

import itertools

_CODE = ("alert(1)", "console.log('hacked')", "document.title='hacked'")

_FRAMES = """
<script>{}</script>
</script><script>{}</script>
</SCRIPT ><ScRiPt>{}</ScRiPt>
<!--<script>{}</script>-->
--><script>{}</script>
<img src=x onerror={}>
<img src=x onerror="{}">
"><img src=x onerror="{}">
'><img src=x onerror='{}'>
" onmouseover="{}" x="
' onmouseover='{}' x='
" autofocus onfocus="{}" tabindex="0
` onfocus=`{}` autofocus=`
<svg onload="{}">
<svg><script>{}</script></svg>
<svg><animate onbegin="{}" attributeName=x dur=1s>
<svg><a xlink:href="javascript:{}"><text x=20 y=20>click</text></a></svg>
<math><mtext></mtext><mglyph><style><img src=x onerror="{}"></style></math>
<iframe src="javascript:{}"></iframe>
<iframe srcdoc="<script>parent.{}</script>"></iframe>
<a href="javascript:{}">here</a>
<form action="javascript:{}"><input type=submit autofocus></form>
<details open ontoggle="{}">
<video><source onerror="{}"></video>
<body onload="{}">
<input autofocus onfocus="{}">
<object data="javascript:{}"></object>
<style>@import 'javascript:{}';</style>
</style><script>{}</script>
</title><script>{}</script>
</textarea><script>{}</script>
</template><script>{}</script>
</noscript><script>{}</script>
</pre></td></table></summary></details><script>{}</script>
<![CDATA[<script>{}</script>]]>
<?xml version="1.0"?><script>{}</script>
${{{}}}
{{{{{}}}}}
{{{{ self.__init__.__globals__['{}'] }}}}
{{% if true %}}{}{{% endif %}}
{{# {} #}}
#{{{}}}
<%= {} %>
`${{{}}}`
");{};//
');{};//
";{};var a="
\\"-{}//
\\u003cscript\\u003e{}\\u003c/script\\u003e
&lt;script&gt;{}&lt;/script&gt;
&#60;script&#62;{}&#60;/script&#62;
%3Cscript%3E{}%3C/script%3E
javascript:{}
data:text/html,<script>{}</script>
""".strip().splitlines()

_PLAIN = [
    "&amp; &lt; &#x41; &nbsp; &bogus;",
    "<b>bold</b> & <i>italic</i>",
    "\"double\" 'single' `back`",
    "<",
    ">",
    "&",
    '"',
    "'",
    "</",
    "<!--",
    "-->",
    "]]>",
    "{{",
    "}}",
    "{%",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "{# comment #}",
    "%s %d %(x)s {0} {}",
    "\\n \\t \\u0041 \\",
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "null",
    "undefined",
    "NaN",
    "true",
    "-1",
    "1e999",
    "../../etc/passwd",
    "..\\..\\windows",
    "C:\\CON",
    "=1+1",
    "+cmd|' /C calc'!A0",
    "@SUM(1)",
    "'; DROP TABLE labels; --",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<img src=//evil.example/x.png>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "url(//evil.example/x)",
    "\u202eright to left override\u202c",
    "\u202ethe end is never closed",
    "\u2066isolated\u2069 and \u2067not\u2069",
    "\u200e\u200f\u061c marks",
    "\u2067unclosed isolate",
    "שלום <script> עולם",
    "مرحبا </script> بالعالم",
    "zero\u200bwidth\u200djoin\ufeff",
    "line\u2028separator\u2029here",
    "nul\x00inside",
    "\x1b[31mred\x1b[0m",
    "bell\x07 delete\x7f next\x85 line",
    "lone \ud800 surrogate",
    "\udfff low first \ud83d",
    "e\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301 zalgo",
    "👩‍👩‍👧‍👦 🇩🇪 👍🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "\U00010ffff astral",
    "\ufffe\uffff noncharacters",
    "tab\there",
    "two\nlines",
    "carriage\rreturn and\r\nboth",
    "   leading and trailing   ",
]

#: Every hostile string, each once.
STRINGS: list[str] = list(
    dict.fromkeys([*(frame.format(code) for frame, code in itertools.product(_FRAMES, _CODE)), *_PLAIN])
)
