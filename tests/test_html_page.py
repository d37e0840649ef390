"""Templates of HTML pages are filled once, and data cannot leave its script element."""

import json

import pytest
from html_pages import HOSTILE, Reader

from hrnet_jax import html_page


def written(tmp_path, text):
    path = tmp_path / "template.html"
    path.write_text(text)
    return path


def test_data_and_titles_are_embedded_unchanged(tmp_path):
    template = written(tmp_path, "<title>{{title}}</title><script type='text/plain'>{{data}}</script><p>")
    data = {HOSTILE: [HOSTILE, "é\udcff", 1.5, None]}
    texts = Reader(html_page.render(template, HOSTILE, {"data": html_page.escape_json(json.dumps(data))})).texts
    assert texts[0] == ["title", HOSTILE]
    assert [kind for kind, _ in texts] == ["title", "text/plain"] and json.loads(texts[1][1]) == data


def test_slots_inside_of_texts_are_left_alone(tmp_path):
    template = written(tmp_path, "{{first}} {{title}} {{ second }}")
    assert html_page.render(template, "{{first}}", {"first": "{{title}}"}) == "{{title}} {{first}} {{ second }}"


def test_every_page_gets_the_shared_style_and_script(tmp_path):
    text = html_page.render(written(tmp_path, "{{base_style}}{{base_script}}"), "", {})
    assert "prefers-color-scheme: dark" in text and "document.createElement" in text


def test_a_slot_without_text_is_an_error(tmp_path):
    with pytest.raises(KeyError, match="data"):
        html_page.render(written(tmp_path, "{{data}}"), "", {})


def test_json_has_no_character_that_markup_uses():
    text = html_page.escape_json(json.dumps("<!--<script>&amp;"))
    assert not set("<>&") & set(text) and json.loads(text) == "<!--<script>&amp;"
