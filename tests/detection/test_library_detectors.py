"""Mask R-CNN, RF-DETR-Seg and Grounding DINO: small random models, and what their libraries say of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import detectors
from detectors.coco import COCO_NAMES
from detectors.text import phrase_of_token
from vis.errors import CheckpointError, UsageError, WeightsError


@pytest.fixture(scope="module")
def small_maskrcnn():
    """A Mask R-CNN on a ResNet-18, which decides on something because its scores are hardly thresholded."""
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    torch.manual_seed(0)

    def build(weights=None, weights_backbone=None, **settings):
        torch.manual_seed(0)
        backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        return MaskRCNN(backbone, 91, min_size=64, max_size=128, rpn_post_nms_top_n_test=50, **settings)

    return build


@pytest.mark.slow
def test_maskrcnn_gives_the_librarys_objects(small_maskrcnn, film, tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.models.detection.maskrcnn_resnet50_fpn_v2", small_maskrcnn)
    model = small_maskrcnn(box_score_thresh=0.011, box_detections_per_img=20).eval()
    torch.save(model.state_dict(), tmp_path / "small.pth")
    images = film(3)
    detector = detectors.create(
        "maskrcnn", weights=tmp_path / "small.pth", score=0.011, max_detections=20, device="cpu"
    )
    found = detector.detect(images)
    with torch.inference_mode():
        expected = model([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images])
    assert detector.class_names == COCO_NAMES
    assert sum(map(len, found)) > 0
    for ours, theirs in zip(found, expected, strict=True):
        from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights

        slots = MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1.meta["categories"]
        real = [i for i, slot in enumerate(theirs["labels"].tolist()) if slots[slot] != "N/A"]
        assert [detector.class_names[label] for label in ours.labels] == [
            slots[theirs["labels"][i]] for i in real
        ]
        np.testing.assert_allclose(ours.scores, theirs["scores"][real])
        np.testing.assert_allclose(ours.boxes, theirs["boxes"][real], atol=1e-4)
        np.testing.assert_array_equal(ours.masks, theirs["masks"][real, 0] > 0.5)


def test_maskrcnn_without_weights_says_where_they_go(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")
    with pytest.raises(
        WeightsError, match=r"VISTUBES_OFFLINE is set; .*`curl .*checkpoints.* https://.*maskrcnn.*pth`"
    ):
        detectors.create("maskrcnn")
    with pytest.raises(WeightsError, match="no file"):
        detectors.create("maskrcnn", weights=tmp_path / "none.pth")
    (tmp_path / "other.pth").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="no state dict of maskrcnn_resnet50_fpn_v2"):
        detectors.create("maskrcnn", weights=tmp_path / "other.pth")


@pytest.fixture(scope="module")
def rfdetr_folder(tmp_path_factory):
    pytest.importorskip("transformers")
    from transformers import RfDetrConfig, RfDetrForInstanceSegmentation, RfDetrImageProcessor
    from transformers.models.rf_detr.configuration_rf_detr import RfDetrDinov2Config

    torch.manual_seed(1)
    backbone = RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
        num_windows=2,
        out_indices=[1, 2],
    )
    config = RfDetrConfig(
        backbone_config=backbone,
        d_model=32,
        intermediate_size=32,
        decoder_layers=2,
        decoder_self_attention_heads=4,
        decoder_cross_attention_heads=4,
        num_queries=12,
        group_detr=1,
        id2label={i: f"thing {i}" for i in range(6)},
    )
    model = RfDetrForInstanceSegmentation(config).eval()
    with torch.no_grad():
        model.model.class_embed.weight.normal_(0, 0.3)
        model.model.class_embed.bias.fill_(-1)
    folder = tmp_path_factory.mktemp("rfdetr")
    model.save_pretrained(folder)
    RfDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_rfdetr_gives_the_librarys_objects(rfdetr_folder, film):
    pytest.importorskip("transformers")
    from transformers import RfDetrForInstanceSegmentation, RfDetrImageProcessor

    images = film(3)
    detector = detectors.create("rfdetr-seg", weights=rfdetr_folder, score=0.5, device="cpu")
    found = detector.detect(images)
    processor = RfDetrImageProcessor.from_pretrained(rfdetr_folder)
    model = RfDetrForInstanceSegmentation.from_pretrained(rfdetr_folder).eval()
    inputs = processor(images=images, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    sizes = [image.shape[:2] for image in images]
    expected = processor.post_process_instance_segmentation(
        outputs, threshold=0.5, target_sizes=sizes, return_binary_maps=True, top_k=12 * 6
    )
    boxes = processor.post_process_object_detection(outputs, threshold=0.5, target_sizes=sizes, top_k=12 * 6)
    assert sum(map(len, found)) >= 3
    for ours, theirs, theirs_boxes in zip(found, expected, boxes, strict=True):
        rows, seen = [], set()
        for row, mask in enumerate(theirs["segmentation"].numpy()):
            # A second class of the same query has the same mask, and is not another object.
            if mask.tobytes() not in seen:
                rows.append(row)
                seen.add(mask.tobytes())
        infos = [theirs["segments_info"][row] for row in rows]
        assert ours.labels.tolist() == [info["label_id"] for info in infos]
        np.testing.assert_allclose(ours.scores, [info["score"] for info in infos], atol=2e-6)
        np.testing.assert_array_equal(ours.masks, theirs["segmentation"].numpy()[rows])
        for box in ours.boxes:
            clipped = theirs_boxes["boxes"].numpy().clip(0, [90, 60, 90, 60])
            assert np.abs(clipped - box).max(axis=1).min() < 1e-3


@pytest.fixture(scope="module", params=["GroundingDino", "MMGroundingDino"])
def grounding_kind(request):
    """The first Grounding DINO, or OpenMMLab's."""
    return request.param


@pytest.fixture(scope="module")
def grounding_folder(grounding_kind, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    from transformers import BertConfig, BertTokenizer, GroundingDinoImageProcessorPil, SwinConfig

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "person", "red", "car", "dog", "##gy"]
    folder = tmp_path_factory.mktemp("grounding")
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    swin = SwinConfig(
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        image_size=64,
        out_indices=[2, 3, 4],
    )
    bert = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    config = getattr(transformers, f"{grounding_kind}Config")(
        backbone_config=swin,
        text_config=bert,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=20,
        max_text_len=32,
    )
    getattr(transformers, f"{grounding_kind}ForObjectDetection")(config).eval().save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128}).save_pretrained(folder)
    return folder


def test_text_gives_the_librarys_boxes(grounding_folder, grounding_kind, film):
    transformers = pytest.importorskip("transformers")
    from transformers import AutoTokenizer, GroundingDinoImageProcessorPil, GroundingDinoProcessor

    images = film(2)
    settings = {"weights": grounding_folder, "score": 0.0, "nms_iou": 1.0, "device": "cpu"}
    detector = detectors.create("text", text="Person . red car.", **settings)
    assert detector.class_names == ("person", "red car")
    found = detector.detect(images)
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil.from_pretrained(grounding_folder),
        AutoTokenizer.from_pretrained(grounding_folder),
    )
    inputs = processor(images=images, text=["person . red car ."] * 2, return_tensors="pt")
    model = (
        getattr(transformers, f"{grounding_kind}ForObjectDetection").from_pretrained(grounding_folder).eval()
    )
    with torch.inference_mode():
        outputs = model(**inputs)
    assert sum(map(len, found)) >= 10
    # The library's score counts full stops as words, too; ours is the best word of a phrase.
    tokens = outputs.logits.sigmoid()[:, :, : inputs["input_ids"].shape[1]]
    named = [[1], [3, 4]]  # [CLS] person . red car . [SEP]
    expected = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=-1, target_sizes=[image.shape[:2] for image in images]
    )
    for row, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        best = torch.stack([tokens[row][:, columns].amax(1) for columns in named], dim=1)
        order = best.amax(1).argsort(descending=True, stable=True)
        np.testing.assert_allclose(ours.scores, best.amax(1)[order], atol=1e-6)
        assert ours.labels.tolist() == best.argmax(1)[order].tolist()
        clipped = theirs["boxes"].numpy()[order].clip(0, [90, 60, 90, 60])
        np.testing.assert_allclose(ours.boxes, clipped, atol=1e-3)


def test_text_drops_doubles_and_empty_texts(grounding_folder, film):
    settings = {"weights": grounding_folder, "score": 0.0, "device": "cpu"}
    all_boxes = detectors.create("text", text="dog", nms_iou=1.0, **settings).detect(film(1))[0]
    single = detectors.create("text", text="dog", nms_iou=0.0, **settings).detect(film(1))[0]
    assert 0 < len(single) < len(all_boxes)
    with pytest.raises(UsageError, match="names nothing"):
        detectors.create("text", text=" . ", **settings)
    with pytest.raises(UsageError, match="tokens, the model reads 32"):
        detectors.create("text", text=" . ".join(["dog"] * 20), **settings)


def test_tokens_belong_to_the_phrase_between_full_stops():
    assert phrase_of_token([2, 7, 5, 8, 9, 5, 3], 5, {2, 3}) == [-1, 0, -1, 1, 1, -1, -1]
