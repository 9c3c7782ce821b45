"""Golden renderings of chat templates: what Jinja2 makes of them in the environment of transformers.

Every template here was written for this file: one for each construct that published templates use, and one in the
manner of each family of models that we support. `strftime_now` gives the date of the file, as a recipe states one.
"""

import json
from datetime import datetime
from pathlib import Path
from platform import python_version

import jinja2
import transformers
from transformers.utils import chat_template_utils

GOLDEN = Path(__file__).parent.parent / "crates/latrace-core/tests/golden/chat.json"
NOW = datetime(2026, 3, 7)
BOS, EOS = "<s>", "</s>"


def message(role, content, **others):
    return {"role": role, "content": content, **others}


QUESTION = [message("user", "What is 6 times 7?")]
SYSTEM = [message("system", " Be brief. "), *QUESTION]
TURNS = [
    *SYSTEM,
    message("assistant", "<think>\nSix sevens.\n</think>\n\n42"),
    message("user", "  And 7 < 8 & \"so\"? é日😀\n"),
    message("assistant", "Yes."),
]
REASONING = [*QUESTION, message("assistant", "42", reasoning_content="Six sevens.\n")]
NAMED = [message("user", "Hi", name="Ann", weight=1.5, tags=["b", "a"], extra={"z": 1, "a": None})]
CONVERSATIONS = {
    "question": QUESTION,
    "system": SYSTEM,
    "turns": TURNS,
    "reasoning": REASONING,
    "named": NAMED,
}

PLAIN = "{% for m in messages %}{{ m.role }}: {{ m['content'] }}\n{% endfor %}"

# Name -> template, of the constructs that published templates use.
CONSTRUCTS = {
    "plain": PLAIN,
    "tokens": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
    "trim": "a\n  {% if true %}\nb\n  {% endif %}\nc\n",
    "trim kept": "a\n  {%+ if true %}\nb\n  {%- endif +%}\nc\n\n",
    "comments": "{# one {{ two }} {% generation %} #}x{#- three -#}\n y",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{{ eos_token }}{% endgeneration %}{% else %}[{{ m.content }}]{% endif %}{% endfor %}",
    "generation trimmed": "{%- for m in messages -%}\n  {%- generation -%}\n  {{ m.content }}\n  {%- endgeneration -%}\n"
    "{%- endfor -%}",
    "generation on lines": "{% for m in messages %}\n  {% generation %}\n  {{ m.content }}\n  {% endgeneration %}\nx\n"
    "{% endfor %}",
    "generation has a scope": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "generation sees the loop": "{% for m in messages %}{% generation %}{{ loop.index }}{{ m.role }}{% endgeneration %}"
    "{% endfor %}",
    "generation as a text": "{{ '{% generation %}' }}{% raw %}{% generation %} %}{{ a % b }}{% endraw %}!",
    "date": "{{ strftime_now('%d %b %Y') }}|{{ strftime_now(\"%Y-%m-%d\") }}|{{ strftime_now('%A, %B %-d %y %j %a %e %%') }}",
    "date if defined": "{% if strftime_now is defined %}{{ strftime_now('%d %B %Y') }}{% else %}26 Jul 2024{% endif %}",
    "date as a default": "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "Today: {{ date_string }}",
    "json": "{% for m in messages %}{{ m | tojson }}\n{% endfor %}",
    "json indent": "{{ messages | tojson(indent=2) }}{{ [] | tojson(indent=2) }}{{ {} | tojson(indent=4) }}",
    "json indent positional": "{{ messages[0] | tojson(false, 4) }}",
    "json indent none": "{{ messages[0] | tojson(indent=none) }}",
    "json indent 0": "{{ [1, {'a': 2}] | tojson(indent=0) }}{{ [1] | tojson(indent='--') }}",
    "json separators": "{{ messages | tojson(separators=(',', ':')) }}{{ [1, 2] | tojson(separators=[' , ', ' : ']) }}",
    "json separators indent": "{{ messages[0] | tojson(indent=1, separators=(',', ':')) }}",
    "json sort_keys": "{{ messages | tojson(sort_keys=true) }}{{ {'b': {'d': 1, 'c': 2}, 'a': 3} | tojson(sort_keys=True) }}",
    "json ensure_ascii": "{{ 'é日😀\u007f</b>' | tojson(ensure_ascii=true) }}{{ 'é日😀\u007f</b>' | tojson(ensure_ascii=False) }}",
    "json escapes": "{{ '\"\\\\/\\n\\t\\r\\b\\f\\u0001\\u2028' | tojson }}",
    "json numbers": "{{ [1, -2, 1.0, 0.5, 1e16, 1e-7, 1.5e300, 12345678901234567890, true, false, none] | tojson }}",
    "split": "{{ 'a,b,,c'.split(',') }}|{{ 'a,b,c'.split(',', 1)[1] }}|{{ '  a  b '.split() | join('.') }}",
    "rsplit": "{{ 'a,b,c'.rsplit(',', 1)[0] }}|{{ 'a,b,c'.rsplit(',') | join('.') }}|{{ ' a  b c '.rsplit(none, 1) | join('.') }}"
    "|{{ 'abc'.rsplit('x') | join('.') }}|{{ 'a--b--c'.rsplit('--', 5) | join('.') }}|{{ ' a b '.rsplit() | join('.') }}",
    "rsplit of a thought": "{% for m in messages %}{{ m.content.rsplit('</think>', 1)[-1].lstrip('\\n') }};{% endfor %}",
    "partition": "{{ 'a=b=c'.partition('=') | join('|') }};{{ 'a=b=c'.rpartition('=') | join('|') }};{{ 'a'.partition('=') | join('|') }}",
    "strips": "{{ '\\n\\n x \\n'.strip('\\n') }}|{{ 'xxaxx'.lstrip('x') }}|{{ 'xxaxx'.rstrip('x') }}|{{ ' a '.strip() }}",
    "prefixes": "{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') }}{{ 'abc'.removeprefix('x') }}",
    "case": "{{ 'heLLo wORLD'.upper() }}{{ 'heLLo'.lower() }}{{ 'heLLo wORLD'.title() }}{{ 'heLLo wORLD'.capitalize() }}",
    "find": "{{ 'hello'.find('l') }}{{ 'hello'.rfind('l') }}{{ 'hello'.find('x') }}{{ 'hello'.count('l') }}{{ 'hello'.index('e') }}",
    "replace": "{{ 'a.b.c'.replace('.', '-') }}{{ 'a.b.c'.replace('.', '-', 1) }}",
    "starts": "{{ 'abc'.startswith('a') }}{{ 'abc'.endswith(('b', 'c')) }}{{ 'abc'.startswith('b', 1) }}",
    "fill": "{{ '7'.zfill(3) }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '.') }}|{{ 'a'.center(3, '.') }}",
    "percent": "{{ '%s is %d' % ('x', 3) }}|{{ 'one %s' % 'thing' }}|{{ '%05.2f%%' % 3.14159 }}|{{ '%-4s|%4s' % ('a', 'b') }}",
    "percent of parts": "{% set t = '%s-%s' % (messages[0].role, messages[0].content | length) %}{{ t }}"
    "{{ 'a' ~ '%s' % 'b' ~ 'c' }}{{ 'a' + '%s' % 'b' + 'c' }}{{ ('%s' % 'x') | upper }}{{ '%s' % 'x' | upper }}",
    "percent of a name": "{% set f = '<|%s|>' %}{% for m in messages %}{{ f % m.role }}{{ f % m['content'][0:3] }}{% endfor %}",
    "percent of numbers": "{{ 7 % 3 }}{{ -7 % 3 }}{{ 7 % -3 }}{{ 2 * 7 % 4 }}{{ 1 + 7 % 4 * 2 }}{{ 7.5 % 2 }}"
    "{% for m in messages %}{% if loop.index0 % 2 == 0 %}even{% else %}odd{% endif %}{% endfor %}",
    "percent of roles": "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}!{% endif %}.{% endfor %}",
    "percent of a mapping": "{{ '%(a)s and %(b)d' % {'a': 'x', 'b': 2} }}",
    "percent nested": "{{ '%s' % ('%s!' % 'a') }}{{ ['%s' % 1, '%s' % 2] | join(',') }}{{ '%s %s' % ('%s' % 1, 5 % 3) }}",
    "percent types": "{{ '%s %s %s %s' % (1.0, true, none, [1, 'a']) }}|{{ '%x %X %o' % (255, 255, 8) }}|{{ '%+d' % 5 }}",
    "format method": "{{ '{} {}'.format('a', 1) }}{{ '{x}'.format(x=2) }}{{ '%s' | format('a') }}",
    "newlines": "a\r\nb\r{{ 'c\r\nd' }}\r\n{% if true %}\r\n e\r\n{% endif %}\r\nf\r\n",
    "namespace": "{% set ns = namespace(n=0, found=false) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.n = ns.n + 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.n }}{{ ns.found }}",
    "loops": "{% for m in messages %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.length }}"
    "{{ loop.previtem.role if loop.previtem }}{{ loop.nextitem.role if loop.nextitem }};{% endfor %}",
    "loop controls": "{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{% if loop.index == 4 %}"
    "{% break %}{% endif %}{{ m.role }}{% else %}none{% endfor %}",
    "loop filter": "{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ m.content }}{% else %}none{% endfor %}",
    "ranges": "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(5, 1, -2) | list }}{{ messages[::-1] | map(attribute='role') | join(',') }}",
    "slices": "{% set loop_messages = messages[1:] %}{{ loop_messages | length }}{{ 'abcdef'[1:4] }}{{ 'abc'[-1] }}{{ 'abcdef'[::2] }}",
    "macros": "{% macro show(m, tag='x') %}<{{ tag }}>{{ m.content }}</{{ tag }}>{% endmacro %}{% for m in messages %}{{ show(m) }}{{ show(m, tag='y') }}{% endfor %}",
    "call": "{% macro wrap() %}[{{ caller() }}]{% endmacro %}{% call wrap() %}x{% endcall %}",
    "blocks of set": "{% set text %}\n  a{{ messages[0].role }}\n{% endset %}{{ text | trim }}|{{ text | length }}",
    "filters": "{{ ' a ' | trim }}{{ 'a' | upper }}{{ [3, 1, 2] | sort | join }}{{ {'b': 1, 'a': 2} | dictsort | list }}{{ 'x' | default('y') }}"
    "{{ nothing | default('y') }}{{ '' | default('z', true) }}{{ [1, 2] | first }}{{ [1, 2] | last }}{{ 'abc' | length }}{{ '5' | int + 1 }}",
    "selects": "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', 'eq', 'user') | map(attribute='role') | list }}"
    "{{ messages | map(attribute='role') | unique | list }}",
    "tests": "{{ messages is iterable }}{{ 'a' is string }}{{ 1 is number }}{{ none is none }}{{ {} is mapping }}{{ [] is sequence }}"
    "{{ nothing is defined }}{{ nothing is undefined }}{{ true is boolean }}{{ 1 is integer }}{{ 1.0 is float }}{{ 3 is odd }}{{ 4 is divisibleby 2 }}{{ true is true }}",
    "reasoning": "{% for m in messages %}{% if m.reasoning_content is defined and m.reasoning_content is string %}"
    "<think>{{ m.reasoning_content.strip('\\n') }}</think>{% endif %}{{ m.content }}{% endfor %}",
    "fields": "{% for m in messages %}{% if 'name' in m %}{{ m.name }}{{ m['weight'] }}{{ m.tags | sort | join }}{% endif %}{{ m.get('nope', '-') }}{% for k, v in m.items() %}{{ k }};{% endfor %}{% endfor %}",
    "printing": "{{ true }} {{ none }} {{ 1.0 }} {{ [1, 'a', none, true] }} {{ {'a': 'b'} }} {{ ('x', 1) }} {{ 1e16 }} {{ 'it''s' }}",
    "arithmetic": "{{ 7 // 2 }}{{ 7 / 2 }}{{ 2 ** 3 }}{{ 'a' * 3 }}{{ 1 ~ 'a' }}{{ -3 // 2 }}{{ [1] + [2] }}{{ 10 / 5 }}",
    "comparisons": "{{ 1 < 2 < 3 }}{{ 'a' in 'abc' }}{{ 'x' not in ['y'] }}{{ not true or true }}{{ 'a' if false else 'b' }}{{ 'a' if false }}|",
    "tools": "{% if tools %}tools{% else %}no tools{% endif %}{% if documents is defined and documents %}documents{% endif %}",
    "raise": "{% if messages[0].role != 'system' %}{{ raise_exception('the first message must be the system\\'s') }}{% endif %}ok",
    "raised roles": "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('unknown role ' + m.role) }}{% endif %}{{ m.content }}{% endfor %}",
    "whitespace": "  {{- ' a ' -}}  \n  {%- if true -%}  b  {%- endif -%}  \n c {{ 'd' }}  ",
    "with": "{% with x = 1, y = 2 %}{{ x + y }}{% endwith %}{{ x }}",
    "do not escape": "{% for m in messages %}{{ m.content | e }}{{ m.content | escape }}{{ m.content | safe }}{% endfor %}",
    "strings": "{{ 'a' 'b' }}{{ \"it's\" }}{{ 'x\\'y' }}{{ '\\u00e9' }}{{ 'a\\nb' }}{{ '%}' }}{{ '}}' }}",
    "items": "{% for key, value in {'b': 1, 'a': 2}.items() %}{{ key }}={{ value }};{% endfor %}{% for key in {'b': 1} %}{{ key }}{% endfor %}{{ {'b': 1}.keys() | list }}",
    "multiline": "{{\n  'a'\n  ~ messages[0].role\n}}{%\n if true\n%}b{% endif %}",
}

# In the manner of families of models, written for this file.
FAMILIES = {
    "qwen2": """{% for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful assistant.<|im_end|>
' }}{% endif %}{{ '<|im_start|>' + m['role'] + '
' + m['content'] + '<|im_end|>' + '
' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    "qwen3": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(looking=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.looking and message.role == "user" and message.content is string %}
        {%- set ns.looking = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or (not loop.last and thought)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "llama3": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "smollm2": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful AI assistant<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
'}}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' + '
' }}{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' + '
' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    "llama2": """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for message in rest %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate user/assistant/user/...') }}{% endif %}{% if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}""",
    "r1": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(system='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system = message['content'] %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system }}{%- for message in messages %}{%- if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{%- endif %}{%- endfor -%}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}""",
}


def rendered(template, messages, add_generation_prompt):
    """The text, or none where the template refuses the messages."""
    compiled = chat_template_utils._compile_jinja_template(template)
    compiled.globals["strftime_now"] = NOW.strftime
    variables = {"bos_token": BOS, "eos_token": EOS, "tools": None, "documents": None}
    try:
        return compiled.render(messages=messages, add_generation_prompt=add_generation_prompt, **variables)
    except jinja2.exceptions.TemplateError as error:
        print("refused:", error)
        return None


def cases():
    for name, template in {**CONSTRUCTS, **FAMILIES}.items():
        for conversation, messages in CONVERSATIONS.items():
            for add_generation_prompt in (False, True) if name in FAMILIES else (False,):
                text = rendered(template, messages, add_generation_prompt)
                yield {
                    "template": name,
                    "conversation": conversation,
                    "add_generation_prompt": add_generation_prompt,
                    "rendered": text,
                }


def main():
    golden = {
        "versions": {
            "python": python_version(),
            "jinja2": jinja2.__version__,
            "transformers": transformers.__version__,
        },
        "date": NOW.strftime("%Y-%m-%d"),
        "bos_token": BOS,
        "eos_token": EOS,
        "templates": {**CONSTRUCTS, **FAMILIES},
        "conversations": CONVERSATIONS,
        "cases": list(cases()),
    }
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", newline="")


if __name__ == "__main__":
    main()
